"""Who holds what a run, or its input, waits for."""

from __future__ import annotations

from typing import Any

import msgspec

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.handles import (
    Bundle,
    Holder,
    NodeHandle,
    PlacementGroup,
    RunHandle,
    TaskHandle,
)
from dsray_inspect.agent.launchers.ray.holders import holders
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.rank_report import ControllerReport
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import actor, job

OTHER = "05000000"


def group(group_id: str, job_id: str, state: str, node_id: str | None, cpus: float = 3) -> Any:
    bundles = tuple(Bundle(resources={"CPU": 1.0}, node_id=node_id) for _ in range(int(cpus)))
    return PlacementGroup(
        placement_group_id=group_id, job_id=job_id, state=state, strategy="PACK", bundles=bundles
    )


def test_counts_groups_lone_actors_and_tasks_and_nothing_twice() -> None:
    jobs = [job(), job(job_id=OTHER, submission_id="nightly", is_dead=True)]
    groups = [
        group("p1", OTHER, "CREATED", "n1"),
        group("p2", "02000000", "PENDING", None),
        group("p3", OTHER, "REMOVED", "n1"),
    ]
    lone = actor(7, "Sweep", job_id=OTHER, placement_group_id=None, required={"CPU": 2.0})
    actors = [
        actor(1, job_id=OTHER, placement_group_id="p1", required={"CPU_group_p1": 1.0}),
        lone,
        msgspec.structs.replace(lone, actor_id="a8", state="DEAD"),
        actor(9, "Free", placement_group_id=None, required={}),
    ]
    task = TaskHandle(
        task_id="t",
        name="MapBatches(f)",
        job_id=OTHER,
        node_id="n1",
        pid=5,
        started_at=1.0,
        required={"CPU": 1.0},
    )
    of_actor = msgspec.structs.replace(task, task_id="u", actor_id="a7")
    found = holders(jobs, groups, actors, [task, of_actor])
    assert [(holder.kind, holder.id, holder.members, holder.resources) for holder in found] == [
        ("placement group", "p1", "1 × RayTrainWorker", {"CPU": 3.0}),
        ("actor", "a7", "Sweep", {"CPU": 2.0}),
        ("task", "t", "MapBatches(f)", {"CPU": 1.0}),
    ]
    assert {(holder.job, holder.job_is_dead) for holder in found} == {("nightly", True)}


def held(**more: Any) -> Holder:
    holder = Holder(
        kind="actor",
        id="a7",
        name="nightly-sweep",
        members="Sweep",
        job="nightly",
        job_id=OTHER,
        job_is_dead=False,
        pid=71,
        node_ids=("n1",),
        resources={"CPU": 6.0, "GPU": 1.0},
    )
    return msgspec.structs.replace(holder, **more)


def waiting(*found: Holder) -> Snapshot:
    """Return the verdict on a run that waits for 3 CPUs where 2 of 8 are free."""
    controller = actor(9, "TrainController", worker_id="wc")
    observation = Observation(
        job=job(),
        actors=RunHandle(generation="v2", controller=controller, workers=()),
        nodes=[
            NodeHandle(node_id="n1", ip="10.0.0.1", hostname="h", alive=True, resources={"CPU": 8})
        ],
        request=SampleRequest(max_pause_ms=100),
        controller=ControllerReport(state="SCHEDULING"),
        placement_groups=[group("p2", "02000000", "PENDING", None)],
        available={"CPU": 2.0},
        holders=list(found),
        taken_at=100.0,
    )
    return judge(assemble(observation))


def test_a_run_that_waits_names_who_holds_what_it_lacks() -> None:
    snapshot = waiting(held())
    finding = snapshot.findings[0]
    assert snapshot.verdict.cause == "resources_pending"
    assert finding.summary == (
        "No worker has been placed: the run is waiting for 3 × {CPU: 1} (CPU: 3 needed, 2 free "
        "of 8). Held by actor Sweep (nightly-sweep), pid 71, of job nightly."
    )
    assert finding.evidence[0] == (
        "CPU: 6 held by actor Sweep (nightly-sweep), pid 71, of job nightly on h"
    )
    assert finding.next_step == "ray get actors a7"


def test_a_placement_group_that_a_dead_job_left_behind_is_named() -> None:
    leaked = held(kind="placement group", id="p" * 20, name="", members="", job_is_dead=True)
    finding = waiting(leaked).findings[0]
    assert finding.summary.endswith(
        "Held by placement group pppppppp (nothing in it) of job nightly, which has ended."
    )
    assert finding.next_step == f"ray get placement-groups {'p' * 20}"


def test_who_holds_only_what_is_not_missing_is_not_named() -> None:
    snapshot = waiting(held(resources={"GPU": 1.0}), held(resources={"CPU": 0.001}))
    assert "held" not in snapshot.findings[0].summary.lower()
    assert snapshot.findings[0].next_step == "ray status"
