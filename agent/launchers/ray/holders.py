"""Who holds the resources of a cluster: placement groups, actors outside of them, running tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from dsray_inspect.agent.handles import (
    Holder,
    JobHandle,
    PlacementGroup,
    ProcessHandle,
    TaskHandle,
)

PLACED = ("CREATED", "RESCHEDULING")
MOST_CLASSES = 3


def holders(
    jobs: Sequence[JobHandle],
    groups: Sequence[PlacementGroup],
    actors: Sequence[ProcessHandle],
    tasks: Sequence[TaskHandle],
) -> list[Holder]:
    """Return everything that holds resources, whoever's it is, the largest share first."""
    by_id = {job.job_id: job for job in jobs}
    inside: dict[str, list[ProcessHandle]] = {}
    outside: list[Holder] = []

    for row in actors:
        if row.alive and row.placement_group_id:
            inside.setdefault(row.placement_group_id, []).append(row)
        elif row.alive:
            outside.append(_of_actor(row, by_id))

    found = [
        *(
            _of_group(group, inside.get(group.placement_group_id, ()), by_id)
            for group in groups
            if group.state in PLACED
        ),
        *outside,
        *(_of_task(row, by_id) for row in tasks if _holds_itself(row)),
    ]
    held = [holder for holder in found if any(holder.resources.values())]
    return sorted(held, key=lambda holder: -sum(holder.resources.values()))


def _of_group(
    group: PlacementGroup, inside: Sequence[ProcessHandle], jobs: Mapping[str, JobHandle]
) -> Holder:
    placed = [bundle for bundle in group.bundles if bundle.node_id]
    resources: Counter[str] = Counter()

    for bundle in placed:
        resources.update(bundle.resources)

    return Holder(
        kind="placement group",
        id=group.placement_group_id,
        name=group.name,
        members=_members(inside),
        job=_label(group.job_id, jobs),
        job_id=group.job_id,
        job_is_dead=_is_dead(group.job_id, jobs),
        node_ids=tuple(dict.fromkeys(str(bundle.node_id) for bundle in placed)),
        resources=dict(resources),
    )


def _members(inside: Sequence[ProcessHandle]) -> str:
    """Return "3 × RayTrainWorker", "" for an empty group."""
    counted = Counter(row.class_name for row in inside)
    return " + ".join(f"{count} × {name}" for name, count in counted.most_common(MOST_CLASSES))


def _of_actor(row: ProcessHandle, jobs: Mapping[str, JobHandle]) -> Holder:
    return _of_process(
        row, jobs, kind="actor", identity=row.actor_id, name=row.name, members=row.class_name
    )


def _of_task(row: TaskHandle, jobs: Mapping[str, JobHandle]) -> Holder:
    return _of_process(row, jobs, kind="task", identity=row.task_id, members=row.name)


def _of_process(
    row: ProcessHandle | TaskHandle,
    jobs: Mapping[str, JobHandle],
    *,
    kind: Literal["actor", "task"],
    identity: str,
    members: str,
    name: str = "",
) -> Holder:
    return Holder(
        kind=kind,
        id=identity,
        name=name,
        members=members,
        job=_label(row.job_id, jobs),
        job_id=row.job_id,
        job_is_dead=_is_dead(row.job_id, jobs),
        pid=row.pid,
        node_ids=(row.node_id,),
        resources=dict(row.required),
    )


def _holds_itself(row: TaskHandle) -> bool:
    """Tell whether a task has resources of its own, not an actor's or a placement group's."""
    return not row.actor_id and not row.placement_group_id


def _label(job_id: str, jobs: Mapping[str, JobHandle]) -> str:
    return jobs[job_id].label if job_id in jobs else job_id


def _is_dead(job_id: str, jobs: Mapping[str, JobHandle]) -> bool:
    return job_id in jobs and jobs[job_id].is_dead
