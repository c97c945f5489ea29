"""Ranks that wait for Ray Data: for their peers, for a task, or for actors without resources."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.handles import Holder, TaskHandle
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import (
    RUNNER,
    SITE,
    STILL,
    TEACH,
    actor,
    sample_of,
    stands,
    twice,
    waits,
    window,
)

DATA = "ray/data/_internal"
ITERATE = ("__next__", "__next__", f"{SITE}/{DATA}/block_batching/iter_batches.py", 300)
SHARD = (
    "get_dataset_shard",
    "get_dataset_shard",
    f"{SITE}/ray/train/v2/_internal/callbacks/datasets.py",
    67,
)
IN_RAY_DATA = (RUNNER, TEACH, ITERATE)
IN_SHARD = (RUNNER, TEACH, SHARD)
MAP_TASK = ("_map_task", f"{SITE}/{DATA}/execution/operators/map_operator.py", 700)
SCRUB = ("scrub", "/app/train.py", 106)
BARRIER = ("_barrier", f"{SITE}/{DATA}/iterator/stream_split_iterator.py", 591)
COORDINATOR = actor(6, "SplitCoordinator", placement_group_id=None)


def process(pid: int, *frames: tuple[str, str, int], **counters: Any) -> dict[int, Any]:
    """Return what a node tells of a process; frames outermost first."""
    stack = [{"name": name, "filename": file, "line": line} for name, file, line in frames]
    thread = {"thread_name": "MainThread", "os_thread_id": pid, "pid": pid, "frames": stack[::-1]}
    dump = {"json": json.dumps([thread]).encode()}
    return {pid: {"state": "alive", "stack": dump, "counters": {**STILL, **counters}}}


def seen(*processes: dict[int, Any]) -> dict[str, Any]:
    return {
        "n1": {"processes": {pid: answer for told in processes for pid, answer in told.items()}}
    }


def task(age_s: float = 50.0) -> TaskHandle:
    return TaskHandle(
        task_id="t1",
        name="ReadRange->MapBatches(scrub)",
        job_id="02000000",
        node_id="n1",
        pid=77,
        started_at=101.0 - age_s,
    )


def starved(**more: Any) -> Snapshot:
    ranks = tuple(stands(number, IN_RAY_DATA, idle_s=12.0) for number in range(3))
    return twice(*ranks, **more)


def test_a_shard_that_one_rank_asks_for_waits_for_the_others() -> None:
    answers = seen(process(106, BARRIER))
    snapshot = twice(
        stands(0, IN_RAY_DATA), waits(1), waits(2), node_answers=answers, helpers=[COORDINATOR]
    )
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("data_stall", (0,))
    assert snapshot.findings[0].evidence[0] == (
        "its dataset shard waits for ranks 1-2, which have not asked for theirs "
        "(SplitCoordinator, pid 106, holds it at the barrier of the epoch)"
    )


def test_a_shard_that_rank_0_has_not_asked_for_waits_for_it() -> None:
    snapshot = twice(waits(0), stands(1, IN_SHARD), waits(2))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("data_stall", (1,))
    assert snapshot.findings[0].evidence[0].startswith("its dataset shard waits for rank 0, which")


def test_a_shard_that_all_ranks_have_asked_for_waits_for_none_of_them() -> None:
    snapshot = starved(node_answers=seen(process(106, BARRIER)), helpers=[COORDINATOR])
    assert not any(
        "dataset shard" in line for found in snapshot.findings for line in found.evidence
    )


def test_a_map_task_that_does_not_return_is_named_with_its_line() -> None:
    snapshot = starved(tasks=[task()], node_answers=seen(process(77, MAP_TASK, SCRUB)))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", "data_stall")
    assert snapshot.verdict.ranks == ()
    assert snapshot.verdict.summary == (
        "Ranks 0-2 wait for input from Ray Data, whose task ReadRange->MapBatches(scrub) "
        "(pid 77 on h) has been in scrub (train.py:106) for 50.0 s."
    )
    assert snapshot.findings[0].next_step.startswith("py-spy dump --pid 77")
    assert len(snapshot.findings) == 1


def test_a_rank_that_others_wait_for_is_not_blamed_for_a_task_that_hangs() -> None:
    answers = seen(process(77, MAP_TASK, SCRUB))
    rank = stands(1, IN_RAY_DATA, idle_s=12.0)
    snapshot = twice(waits(0), rank, waits(2), tasks=[task()], node_answers=answers)
    assert snapshot.verdict.ranks == ()
    assert "scrub (train.py:106)" in snapshot.verdict.summary


@pytest.mark.parametrize(("idle_s", "state"), [(12.0, "unknown"), (32.0, "degraded")])
def test_a_map_task_that_computes_is_given_time_and_slow_at_most(idle_s: float, state: str) -> None:
    ranks = tuple(stands(number, IN_RAY_DATA, idle_s=idle_s) for number in range(3))
    first, second = (
        sample_of(
            *ranks, tasks=[task()], node_answers=seen(process(77, MAP_TASK, SCRUB, cpu_s=cpu_s))
        )
        for cpu_s in (10.0, 10.9)
    )
    first.observation.taken_at, second.observation.taken_at = 100.0, 101.0
    snapshot = judge(assemble(second.observation, earlier=assemble(first.observation)))
    assert snapshot.verdict.state == state


@pytest.mark.parametrize(
    "more",
    [
        {"tasks": [task(5.0)], "node_answers": seen(process(77, MAP_TASK, SCRUB))},
        {"tasks": [task()], "node_answers": seen(process(77, SCRUB))},
        {"tasks": [task()]},
        {"tasks": None},
    ],
    ids=["young", "not of Ray Data", "not seen", "not read"],
)
def test_no_other_task_is_blamed(more: dict[str, Any]) -> None:
    assert starved(**more).findings == ()


def test_input_that_lacks_resources_says_who_holds_them() -> None:
    pending = [
        actor(
            number,
            "MapWorker(MapBatches(Tokenize))",
            state="PENDING_CREATION",
            required={"CPU": 1.0},
        )
        for number in (20, 21)
    ]
    own = Holder(
        kind="placement group",
        id="pg123456789",
        members="3 × RayTrainWorker",
        job="j1",
        job_id="02000000",
        job_is_dead=False,
        node_ids=("n1",),
        resources={"CPU": 3.0},
    )
    snapshot = starved(pending=pending, available={"CPU": 0.0}, holders=[own])
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", "data_stall")
    assert snapshot.verdict.summary == (
        "Ranks 0-2 wait for input from 2 pending actors of Ray Data (CPU: 2 needed, 0 free of 0). "
        "Held by placement group pg123456 (3 × RayTrainWorker) of this job."
    )
    assert "MapWorker(MapBatches(Tokenize)): 2 actors pending" in snapshot.findings[0].evidence[0]


def test_actors_that_only_start_are_no_shortage() -> None:
    pending = [actor(20, "MapWorker(x)", state="PENDING_CREATION", required={"CPU": 1.0})]
    assert starved(pending=pending, available={"CPU": 2.0}).findings == ()


def test_a_rank_that_moves_is_not_starved() -> None:
    answers = seen(process(77, MAP_TASK, SCRUB))
    before = tuple(stands(number, IN_RAY_DATA, idle_s=12.0) for number in range(3))
    now = tuple(stands(number, IN_RAY_DATA, idle_s=12.0, ran_s=5.9) for number in range(3))
    assert window(before, now, tasks=[task()], node_answers=answers).findings == ()
