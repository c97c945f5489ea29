"""The verdict and what a single sample shows, one fact at a time."""

from __future__ import annotations

from typing import Any

import pytest

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.detectors.registry import Registration
from dsray_inspect.agent.handles import (
    Submission,
)
from dsray_inspect.agent.text.command_hint import CommandHint
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import (
    IN_DATA,
    IN_REDUCE,
    IN_USER,
    RUNNER,
    SITE,
    TEACH,
    entered,
    job,
    judged,
    rank,
    sample_of,
    stands,
    twice,
    waits,
    window,
    with_progress,
)


def test_a_rank_that_stands_still_in_user_code_is_to_blame() -> None:
    snapshot = judged(rank(0, IN_REDUCE, 60), rank(1, IN_USER, 61), rank(2, IN_REDUCE, 60))
    assert snapshot.verdict.state == "hung"
    assert snapshot.verdict.cause == "rank_blocked_in_user_code"
    assert snapshot.verdict.ranks == (1,)
    assert "load_batch (train.py:20)" in snapshot.verdict.summary
    assert "ranks 0, 2 are waiting for it" in snapshot.verdict.summary


def test_the_next_command_can_be_pasted() -> None:
    hint = CommandHint(words=("j1", "--address", "10.0.0.1:6379"))
    snapshot = judge(sample_of(rank(0, IN_REDUCE, 60), rank(1, IN_USER, 61)), hint)
    assert (
        snapshot.findings[0].next_step
        == "dsray-inspect stacks j1 --address 10.0.0.1:6379 --rank 1 --locals"
    )


def test_a_rank_that_still_runs_is_slow_as_far_as_one_sample_tells() -> None:
    snapshot = judged(rank(0, IN_REDUCE, 60), rank(1, IN_USER, 0.1))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("degraded", "straggler")
    assert snapshot.verdict.ranks == (1,)


def test_a_data_loader_that_polls_is_a_data_stall() -> None:
    snapshot = judged(rank(0, IN_REDUCE, 44), rank(1, IN_DATA, 3))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("data_stall", (1,))
    assert "--all-threads" in snapshot.findings[0].next_step


def test_one_long_wait_is_enough() -> None:
    snapshot = judged(rank(0, IN_REDUCE, 1), rank(1, IN_USER, 61), rank(2, IN_REDUCE, 60))
    assert snapshot.verdict.ranks == (1,)


@pytest.mark.parametrize("waited_s", [0.5, 9, 29])
def test_nobody_is_blamed_for_a_short_wait(waited_s: float) -> None:
    snapshot = judged(rank(0, IN_REDUCE, waited_s), rank(1, IN_USER, waited_s))
    assert snapshot.findings == ()


@pytest.mark.parametrize("idle_s", [0.02, 4, 6, 100])
def test_the_use_of_a_cpu_alone_makes_nobody_healthy(idle_s: float) -> None:
    snapshot = judged(rank(0, IN_USER, idle_s), rank(1, IN_USER, idle_s))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("unknown", None)


def test_the_recorder_tells_who_is_behind_and_when_the_group_gives_up() -> None:
    snapshot = judged(
        entered(rank(0, IN_REDUCE, 60), 69, 60),
        entered(rank(1, IN_USER, 60), 68, 60.1, finished=True),
        entered(rank(2, IN_REDUCE, 60), 69, 60),
    )
    assert snapshot.verdict.ranks == (1,)
    evidence = "\n".join(snapshot.findings[0].evidence)
    assert "all_reduce #69 (33,030 float, group 1)" in evidence
    assert "rank 1: its last collective of that group is #68" in evidence
    assert "gives up in 29 min 0 s" in evidence


@pytest.mark.parametrize(("gap_s", "is_stall"), [(0.05, True), (0.7, True), (2.0, False)])
def test_a_stall_is_long_for_the_rhythm_of_the_job(gap_s: float, is_stall: bool) -> None:
    snapshot = judged(
        {**entered(rank(0, IN_REDUCE, 8), 69, 8), "longest_gap_s": gap_s}, rank(1, IN_USER, 8)
    )
    assert bool(snapshot.findings) == is_stall


def test_the_recorder_outlives_a_sample_that_stopped_everybody() -> None:
    snapshot = judged(entered(rank(0, IN_REDUCE, 1), 69, 300), rank(1, IN_USER, 31))
    assert "blocked in load_batch (train.py:20) for 5 min 0 s" in snapshot.verdict.summary


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"operation": "broadcast"}, "collective_mismatch"),
        ({"sizes": [[4]]}, "collective_mismatch"),
        ({"sequence": 70}, "rank_divergence"),
        ({"group": "0"}, "rank_divergence"),
        ({}, None),
    ],
)
def test_ranks_in_different_collectives(more: dict[str, Any], cause: str | None) -> None:
    odd = {"sequence": 69, "age_s": 60, **more}
    snapshot = judged(
        entered(rank(0, IN_REDUCE, 60), 69, 60),
        entered(rank(1, IN_REDUCE, 60), **odd),
        entered(rank(2, IN_REDUCE, 60), 69, 60),
    )
    assert snapshot.verdict.cause == cause
    assert snapshot.verdict.ranks == ((1,) if cause else ())


@pytest.mark.parametrize(
    ("waited_s", "one", "other", "is_told"),
    [
        (1.5, {}, {"operation": "broadcast"}, True),
        (1.5, {}, {"sizes": [[4]]}, True),
        (0.5, {}, {"operation": "broadcast"}, False),
        (1.5, {}, {"sequence": 70}, False),
        (1.5, {"operation": "send 0->1"}, {"operation": "recv 1<-0"}, False),
    ],
)
def test_ranks_that_contradict_each_other_need_not_wait_long(
    waited_s: float, one: dict[str, Any], other: dict[str, Any], is_told: bool
) -> None:
    inside = {"sequence": 69, "age_s": waited_s}
    snapshot = judged(
        entered(rank(0, IN_REDUCE, waited_s), **{**inside, **one}),
        entered(rank(1, IN_REDUCE, waited_s), **{**inside, **other}),
    )
    assert bool(snapshot.findings) == is_told


def test_parts_of_a_gather_may_differ_in_size() -> None:
    gather = {"operation": "all_gather"}
    snapshot = judged(
        entered(rank(0, IN_REDUCE, 60), 69, 60, **gather),
        entered(rank(1, IN_REDUCE, 60), 69, 60, sizes=[[4]], **gather),
    )
    assert snapshot.verdict.cause is None


def test_two_ranks_that_differ_are_both_to_blame() -> None:
    snapshot = judged(
        entered(rank(0, IN_REDUCE, 60), 69, 60),
        entered(rank(1, IN_REDUCE, 60), 69, 60, operation="broadcast"),
    )
    assert snapshot.verdict.ranks == (0, 1)
    assert "teach (train.py:10)" in snapshot.findings[0].evidence[0]


def test_a_rank_that_was_not_seen_makes_the_verdict_unknown() -> None:
    snapshot = judged(rank(0, IN_USER, 0.1), "its main thread did not answer in 1.8 s: busy")
    assert snapshot.verdict.state == "unknown"
    assert "1 of 2 ranks could be seen" in snapshot.verdict.summary


def test_a_dead_rank_makes_the_run_fail() -> None:
    snapshot = judged(
        rank(0, IN_REDUCE, 5),
        "the actor is dead",
        actors={1: {"state": "DEAD", "death_cause": "killed by SIGKILL"}},
    )
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("failed", "worker_dead")
    assert "killed by SIGKILL" in snapshot.findings[0].evidence[0]


@pytest.mark.parametrize(
    ("status", "job_state", "state"),
    [
        ("SUCCEEDED", "SUCCEEDED", "finished"),
        ("STOPPED", "STOPPED", "finished"),
        ("FAILED", "FAILED", "failed"),
        ("RUNNING", "FINISHED", "finished"),
        (None, "FINISHED", "finished"),
    ],
)
def test_a_job_ends_as_ray_says(status: str | None, job_state: str, state: str) -> None:
    submission = Submission(status=status, message="exit code 1") if status else None
    snapshot = judged("the actor is dead", job=job(is_dead=True), submission=submission)
    assert (snapshot.job.state, snapshot.verdict.state) == (job_state, state)
    assert ("exit code 1" in snapshot.verdict.summary) == (state == "failed")


def test_two_ranks_on_one_device() -> None:
    gpu = {"index": 0, "uuid": "GPU-1", "name": "x", "utilization": 0.5, "memory_used_bytes": 1}
    answers = {"n1": {"processes": {}, "gpus": [gpu]}}
    slots = {0: {"gpu_slots": (0,)}, 1: {"gpu_slots": (0,)}}
    ranks = (rank(0, IN_USER, 0.1), rank(1, IN_USER, 0.1))
    assert judged(*ranks, actors=slots, node_answers=answers).findings[0].cause == "device_conflict"
    shared = {n: {**slots[n], "gpu_share": 0.5} for n in slots}
    assert judged(*ranks, actors=shared, node_answers=answers).findings == ()


def test_a_detector_that_throws_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dsray_inspect.agent import verdict

    def broken(_facts: AnalysisInput) -> list[Any]:
        raise KeyError("x")

    first = Registration(detect=broken, causes=("unknown",), after=())
    monkeypatch.setattr(verdict, "DETECTORS", (first, *verdict.DETECTORS))
    snapshot = judged(rank(0, IN_REDUCE, 60), rank(1, IN_USER, 61))
    assert snapshot.verdict.cause == "rank_blocked_in_user_code"
    assert any("broken failed" in note for note in snapshot.notes)


def spilled(newest_s: float | None, size_bytes: int = 2_000_000_000) -> dict[str, Any]:
    return {"n1": {"processes": {}, "spilled": {"newest_s": newest_s, "bytes": size_bytes}}}


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        (spilled(2.0), "object_spilling"),
        (spilled(60.0), None),
        (spilled(2.0, 4096), None),
        (spilled(None, 0), None),
    ],
)
def test_objects_that_go_to_disk_now_are_told(answers: dict[str, Any], cause: str | None) -> None:
    snapshot = judged(rank(0, IN_USER, 0.1), rank(1, IN_USER, 0.1), node_answers=answers)
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == (cause, ())


def test_what_a_node_without_ranks_of_the_run_spills_is_not_its_trouble() -> None:
    elsewhere = {"node_id": "n2"}
    sample = sample_of(rank(0, IN_USER, 0.1), actors={0: elsewhere}, node_answers=spilled(2.0))
    assert judge(sample).findings == ()


@pytest.mark.parametrize(
    ("collectives", "phase"),
    [
        ({"reason": "failed", "detail": "this torch keeps no flight recorder"}, "starting"),
        ([], "starting"),
        (entered({}, 69, 5.0)["collectives"], "finished"),
    ],
)
def test_only_a_rank_that_has_been_in_a_collective_is_done(collectives: Any, phase: str) -> None:
    """Without a training thread it is on its way there, or has returned from it."""
    loop = ("main_loop", "main_loop", f"{SITE}/ray/_private/worker.py", 1010)
    told = rank(0, (loop,), 1.0)
    told = {**told, "threads": [{**told["threads"][0], "name": "Thread-1"}]}
    worker = judged({**told, "collectives": collectives}).workers[0]
    assert worker.phase == phase


NAN = {"skipped_steps": 6.0, "grad_norm": "inf", "loss": "nan", "weight": 0.1}
SKIPS = {"skipped_steps": 6.0, "grad_norm": "inf", "loss": 0.3, "weight": 0.1}
ON_A_DEVICE = {"skipped_steps": 6.0, "overflow": True}
FINE = {"skipped_steps": 6.0, "grad_norm": 0.4, "loss": 0.3, "weight": 0.1}


@pytest.mark.parametrize(
    ("health", "cause"),
    [
        (NAN, "nonfinite_loss"),
        (SKIPS, "overflow_skips"),
        (ON_A_DEVICE, "overflow_skips"),
        ({**ON_A_DEVICE, "overflow": False}, None),
        (FINE, None),
    ],
)
def test_numbers_that_are_none(health: dict[str, Any], cause: str | None) -> None:
    ranks = [{**rank(number, IN_USER, 0.1), "health": FINE} for number in range(3)]
    ranks[1]["health"] = health
    snapshot = twice(*ranks)
    assert snapshot.verdict.cause == cause
    assert snapshot.verdict.ranks == ((1,) if cause else ())


@pytest.mark.parametrize(("used", "cause"), [(98, "memory_pressure"), (60, None)])
def test_memory_that_is_nearly_used_up(used: int, cause: str | None) -> None:
    memory = {"whose": "/sys/fs/cgroup/x", "limit_bytes": 100, "used_bytes": used, "oom_kills": 0}
    ranks = [with_progress(rank(number, IN_USER, 0.1)) for number in range(2)]
    ranks[1]["counters"]["memory"] = memory
    snapshot = twice(*ranks)
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == (cause, (1,) if cause else ())


def test_a_sample_knows_one_earlier_sample_only() -> None:
    first = sample_of(rank(0, IN_USER, 0.1))
    second = assemble(first.observation, earlier=first)
    third = assemble(first.observation, earlier=second)
    assert third.earlier is not None
    assert third.earlier.earlier is None


SILENT_RECORDER = {"reason": "failed", "detail": "the rank runs"}


@pytest.mark.parametrize(
    ("peer", "phase"),
    [
        ({"finished": True}, "finished"),
        ({"finished": False}, "starting"),
        ({"finished": True, "operation": "broadcast"}, "starting"),
    ],
)
def test_a_rank_without_a_recorder_has_trained_where_a_peer_met_it(
    peer: dict[str, Any], phase: str
) -> None:
    loop = ("main_loop", "main_loop", f"{SITE}/ray/_private/worker.py", 1010)
    over = {**rank(1, (loop,), 0.2), "collectives": SILENT_RECORDER}
    over["threads"][0]["name"] = "Thread-1"
    snapshot = judged(entered(rank(0, IN_USER, 0.1), 68, 2.0, **peer), over)
    assert snapshot.workers[1].phase == phase


def test_nothing_is_said_of_the_time_since_a_thread_ran_where_the_kernel_does_not_tell() -> None:
    stuck = stands(1, (RUNNER, TEACH))
    stuck["threads"][0]["idle_s"] = None
    snapshot = twice(waits(0), stuck, waits(2))
    assert (snapshot.verdict.state, snapshot.verdict.ranks) == ("hung", (1,))
    assert not any("last ran" in line for line in snapshot.findings[0].evidence)


def test_a_rank_that_was_seen_to_train_is_done_though_its_recorder_is_not_read_now() -> None:
    loop = ("main_loop", "main_loop", f"{SITE}/ray/_private/worker.py", 1010)
    over = {**rank(0, (loop,), 0.2), "collectives": SILENT_RECORDER}
    over["threads"][0]["name"] = "Thread-1"
    before = entered(rank(0, IN_USER, 0.1), 68, 2.0)
    snapshot = window(({**before, "newest_age_s": 2.0},), (over,))
    assert snapshot.workers[0].phase == "finished"
