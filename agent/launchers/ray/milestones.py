"""The moments of a run's start, from Ray's tables and task events, and from the controller's log.

All times are Unix nanoseconds. The clocks are those of the nodes where things happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.handles import PlacementGroup, RunHandle
from dsray_inspect.agent.launchers.ray.records import TaskHistory, TaskRow
from dsray_inspect.agent.launchers.ray.task_events import (
    CREATE_WORKER,
    INIT_CONTEXT,
    JOIN_GROUP,
    START_TRAINING,
)
from dsray_inspect.agent.launchers.start import Milestones, S

_TOOK = re.compile(ray.STEP_SECONDS)
ASKED = ray.TASK_ASKED_STATES
ENDED = ray.TASK_ENDED_STATES


def from_history(
    history: TaskHistory, actors: RunHandle, groups: Sequence[PlacementGroup]
) -> Milestones:
    """Return the marks of a run's present worker group."""
    controller = actors.controller
    present = {row.actor_id: row for row in actors.workers}
    tasks = [task for task in history.tasks if task.actor_id in present]
    creations = [task for task in tasks if task.is_creation]
    own = [t for t in history.tasks if controller and t.actor_id == controller.actor_id]
    made = next((task for task in own if task.is_creation), None)
    last = max(creations, key=lambda task: state(task, *ENDED) or 0, default=None)
    row = present[last.actor_id] if last else None
    times = history.processes.get(row.worker_id) if row else None
    group = _group_of(actors, groups)
    return Milestones(
        fit_ns=state(made, *ASKED),
        controller_ns=state(made, *ENDED)
        or (round(controller.started_at * S) if controller and controller.started_at else None),
        group_asked_ns=(group.requested_ns or None) if group else None,
        group_ready_ns=(group.created_ns if group else None)
        or _first(state(task, *ASKED) for task in creations),
        launched_ns=times.launched_ns if times else None,
        running_ns=state(last, ray.TASK_RUNNING_STATE),
        created_ns=state(last, *ENDED) if _everyone(creations, present) else None,
        join_ns=_first(
            state(task, ray.TASK_RUNNING_STATE) for task in tasks if task.name == JOIN_GROUP
        ),
        joined_ns=_ended(tasks, JOIN_GROUP, present),
        trained_ns=_ended(tasks, START_TRAINING, present),
        unpickled_ns=_unpickled(tasks),
        restart=_had_another_group(history, present, own),
    )


def state(task: TaskRow | None, *names: str) -> int | None:
    """Return when a task came into the first of these states that it was in."""
    found = [task.states_ns[name] for name in names if name in task.states_ns] if task else []
    return found[0] if found else None


def _first(times: Iterable[int | None]) -> int | None:
    return min((time_ns for time_ns in times if time_ns is not None), default=None)


def _everyone(tasks: Sequence[TaskRow], present: Mapping[str, object]) -> bool:
    """Return whether there is an ended task of each rank."""
    done = {task.actor_id for task in tasks if state(task, *ENDED) is not None}
    return bool(present) and done == set(present)


def _ended(tasks: Sequence[TaskRow], name: str, present: Mapping[str, object]) -> int | None:
    """Return when the last rank had ended a task, None while one has not."""
    named = [task for task in tasks if task.name == name]

    if not _everyone(named, present):
        return None

    return max(state(task, *ENDED) or 0 for task in named)


def _unpickled(tasks: Sequence[TaskRow]) -> int:
    """Return the longest time that a rank took for what the training function needs imported."""
    spans = [task.span(ray.UNPICKLE_SPAN) for task in tasks if task.name == INIT_CONTEXT]
    return max((span.end_ns - span.start_ns for span in spans if span), default=0)


def _group_of(actors: RunHandle, groups: Sequence[PlacementGroup]) -> PlacementGroup | None:
    """Return the placement group of the workers; without any, the only one that is pending."""
    ids = {row.placement_group_id for row in actors.workers}

    if ids:
        return next((group for group in groups if group.placement_group_id in ids), None)

    pending = [group for group in groups if group.state in ray.UNPLACED_GROUP_STATES]
    return pending[0] if len(pending) == 1 else None


def _had_another_group(
    history: TaskHistory, present: Mapping[str, object], controller: Sequence[TaskRow]
) -> bool:
    """Return whether the controller made workers before the present ones."""
    runs = {task.task_id for task in controller}
    firsts = [state(t, *ASKED) for t in history.tasks if t.actor_id in present and t.is_creation]
    began = _first(firsts)
    return began is not None and any(
        task.is_creation
        and task.name == CREATE_WORKER
        and task.parent_task_id in runs
        and task.actor_id not in present
        and (state(task, *ASKED) or began) < began
        for task in history.tasks
    )


def from_log(lines: Sequence[tuple[int, str]]) -> Milestones:
    """Return the marks that a controller's log has of its newest worker group.

    `lines`: Unix nanoseconds and message of each line on the start of a worker group.
    """
    found: dict[str, int] = {}
    groups = 0

    for at_ns, message in lines:
        if message.startswith(ray.GROUP_ATTEMPTED):
            groups += 1
            found = {"group_asked_ns": at_ns}
        elif ray.PLACEMENT_READY in message:
            found["group_asked_ns"] = at_ns - _took(message)
            found["group_ready_ns"] = at_ns
        elif ray.WORKERS_CREATED in message:
            found["created_ns"] = at_ns
        elif f"{ray.CALLBACKS_DONE} callbacks" in message:
            found |= _backend(at_ns, message)
        elif ray.FUNCTION_LAUNCHED in message:
            found["trained_ns"] = at_ns

    return Milestones(**found, restart=groups > 1)


def _backend(at_ns: int, message: str) -> dict[str, int]:
    """Return begin and end of Ray Train's backend set-up, which is the rendezvous mostly.

    Only durations are logged, of callbacks that run one after the other.
    """
    durations = re.findall(ray.CALLBACK_SECONDS, message, re.MULTILINE)
    names = [name for name, _ in durations]

    if ray.BACKEND_CALLBACK not in names:
        return {}

    begin_ns = at_ns - _took(message)
    place = names.index(ray.BACKEND_CALLBACK)
    before = sum(round(float(text) * S) for _, text in durations[:place])
    length = round(float(durations[place][1]) * S)
    return {"join_ns": begin_ns + before, "joined_ns": begin_ns + before + length}


def _took(message: str) -> int:
    found = _TOOK.search(message)
    return round(float(found[1]) * S) if found else 0
