"""Ranks that keep their peers waiting: who is blocked, who still moves, who waits for whom."""

from __future__ import annotations

from typing import Any

import pytest

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import (
    APART_S,
    IN_DATA,
    IN_GET,
    IN_REPORT,
    IN_SAVE,
    IN_USER,
    STILL,
    actor,
    entered,
    in_group,
    rank,
    sample_of,
    stands,
    twice,
    waits,
    window,
    with_progress,
)


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        (IN_USER, "rank_blocked_in_user_code"),
        (IN_DATA, "data_stall"),
        (IN_SAVE, "checkpoint_stall"),
        (IN_GET, "object_wait"),
    ],
)
def test_who_does_nothing_between_two_samples_is_blocked_although_it_polls(
    frames: Any, cause: str
) -> None:
    snapshot = twice(waits(0), stands(1, frames), waits(2))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", cause)
    assert snapshot.verdict.ranks == (1,)


def test_who_has_left_what_it_was_in_is_not_blocked() -> None:
    before, now = stands(1, IN_GET, 6), stands(1, IN_USER, 7)
    snapshot = window((waits(0, 6), before, waits(2, 6)), (waits(0, 7), now, waits(2, 7)))
    assert snapshot.findings == ()
    snapshot = twice(waits(0, 7), now, waits(2, 7))
    assert snapshot.verdict.cause == "rank_blocked_in_user_code"


def test_who_waits_in_c_for_its_newest_collective_is_no_culprit() -> None:
    """`work.wait()` or `loss.item()`: the innermost frame of all ranks is a line of the user's."""

    def item(number: int) -> dict[str, Any]:
        return with_progress(entered(rank(number, IN_USER, 8), 69, 8))

    snapshot = twice(item(0), stands(1, IN_USER), item(2))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("rank_blocked_in_user_code", (1,))
    assert "ranks 0, 2 are waiting for it" in snapshot.verdict.summary


def test_who_has_begun_a_collective_that_all_have_begun_waits_for_nobody() -> None:
    def ahead(number: int, **more: Any) -> dict[str, Any]:
        return with_progress(entered(rank(number, IN_USER, 0.1), 69, 0.2), **more)

    before = tuple(ahead(number) for number in range(3))
    snapshot = window(before, tuple(ahead(number, ran_s=5.9) for number in range(3)))
    assert (snapshot.verdict.state, snapshot.findings) == ("healthy", ())


def test_who_polls_on_a_crowded_machine_still_does_nothing() -> None:
    before = (waits(0), stands(1, IN_USER), waits(2))
    polls = stands(1, IN_USER, ran_s=5.005, run_delay_s=1.5)
    snapshot = window(before, (waits(0), polls, waits(2)))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("rank_blocked_in_user_code", (1,))


@pytest.mark.parametrize(
    "more",
    [
        {"ran_s": 5.9},
        {"ran_s": 5.02, "run_delay_s": 1.9},
        {"run_delay_s": 1.98},
        {"cpu_s": 10.9},
        {"moved_bytes": 50 << 20},
        {"children": [{"pid": 9, "name": "python", "state": "R", "cpu_s": 0.8}]},
    ],
)
def test_who_moves_between_two_samples_takes_its_time(more: dict[str, Any]) -> None:
    before = (waits(0), stands(1, IN_SAVE), waits(2))
    snapshot = window(before, (waits(0), stands(1, IN_SAVE, **more), waits(2)))
    assert snapshot.findings == ()
    assert snapshot.verdict.state == "healthy"


def in_get_of(
    actor_cpu_s: tuple[float, float], waited_s: float, getting: tuple[int, ...] = (1,)
) -> Snapshot:
    """Return what is said of ranks in `ray.get` while an actor of the job computes so much."""
    helper = actor(7, class_name="Env", owner_worker_id="w1")
    ranks = tuple(
        stands(number, IN_GET, waited_s) if number in getting else waits(number, waited_s)
        for number in range(3)
    )
    first, second = (
        sample_of(
            *ranks,
            helpers=[helper],
            node_answers={"n1": {"processes": {107: {"counters": {**STILL, "cpu_s": cpu_s}}}}},
        )
        for cpu_s in actor_cpu_s
    )
    first.observation.taken_at, second.observation.taken_at = 100.0, 100.0 + APART_S
    return judge(assemble(second.observation, earlier=assemble(first.observation)))


def test_an_object_that_is_still_being_made_is_waited_for() -> None:
    assert in_get_of((10.0, 10.9), 8).findings == ()
    late = in_get_of((10.0, 10.9), 40).findings[0]
    assert (late.cause, late.severity, late.ranks) == ("object_wait", "warning", (1,))
    assert "actor Env, pid 107, is still running" in late.summary


def test_it_is_the_actor_that_still_runs_also_for_several_ranks() -> None:
    late = in_get_of((10.0, 10.9), 40, getting=(1, 2)).findings[0]
    assert late.ranks == (1, 2)
    assert "actor Env, pid 107, is still running; rank 0 has waited 40.0 s for them" in late.summary


def test_an_object_that_nobody_makes_is_not() -> None:
    finding = in_get_of((10.0, 10.01), 8).findings[0]
    assert (finding.cause, finding.severity, finding.ranks) == ("object_wait", "error", (1,))
    assert finding.evidence[-1].startswith("actor Env, pid 107: 1 % of a core")


def test_a_machine_without_a_cpu_to_spare_is_told() -> None:
    before = (waits(0, 40), stands(1, IN_USER, 40), waits(2, 40))
    starved = stands(1, IN_USER, 40, ran_s=5.1, run_delay_s=1.6)
    finding = window(before, (waits(0, 40), starved, waits(2, 40))).findings[0]
    assert finding.cause == "straggler"
    assert "queueing for a CPU for 60 % of the time" in finding.evidence[0]


def test_who_moves_for_long_is_slow_and_not_hung() -> None:
    before = (waits(0, 40), stands(1, IN_USER, 40), waits(2, 40))
    snapshot = window(before, (waits(0, 40), stands(1, IN_USER, 40, ran_s=5.9), waits(2, 40)))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("degraded", "straggler")


def test_everybody_in_the_same_place_for_long_waits_for_something_else() -> None:
    snapshot = twice(*(stands(number, IN_USER, 40) for number in range(3)))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == (
        "rank_blocked_in_user_code",
        (0, 1, 2),
    )
    short = twice(*(stands(number, IN_USER, 12) for number in range(3)))
    assert short.findings == ()


@pytest.mark.parametrize(("reporting", "blamed"), [((0,), (0,)), ((0, 2), (1,)), ((0, 1, 2), None)])
def test_a_report_is_a_barrier(reporting: tuple[int, ...], blamed: tuple[int, ...] | None) -> None:
    ranks = [
        stands(number, IN_REPORT) if number in reporting else waits(number) for number in range(3)
    ]
    snapshot = twice(*ranks)

    if blamed is None:
        assert snapshot.findings == ()
    else:
        assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("report_barrier", blamed)


def test_who_sleeps_while_others_report_is_to_blame() -> None:
    snapshot = twice(stands(0, IN_REPORT), stands(1, IN_USER), stands(2, IN_REPORT))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("rank_blocked_in_user_code", (1,))


def test_the_graph_leads_from_the_victims_to_the_root() -> None:
    graph = twice(waits(0), stands(1, IN_USER), waits(2)).graph
    pairs = {(edge.waiter, edge.awaited) for edge in graph.edges}
    collective = "all_reduce #69 (33,030 float, group 1)"
    assert {("rank 0", collective), ("rank 2", collective), (collective, "rank 1")} <= pairs
    assert graph.roots == ("rank 1",)
    assert all(edge.evidence for edge in graph.edges)


def test_ranks_that_stand_alike_are_told_together() -> None:
    ranks = (waits(0), stands(1, IN_USER), waits(2), stands(3, IN_USER), stands(4, IN_DATA))
    snapshot = twice(*ranks)
    found = [(finding.cause, finding.ranks) for finding in snapshot.findings]
    assert found == [("rank_blocked_in_user_code", (1, 3)), ("data_stall", (4,))]
    assert "Ranks 1, 3 have been blocked in load_batch (train.py:20)" in snapshot.verdict.summary
    assert "ranks 0, 2 are waiting for them" in snapshot.verdict.summary
    evidence = "\n".join(snapshot.findings[0].evidence)
    assert "rank 1: its last collective of that group is #68" in evidence
    assert "rank 3: its last collective of that group is #68" in evidence


def test_slow_ranks_are_told_together() -> None:
    slow = [stands(number, IN_USER, 40, ran_s=5.0) for number in (1, 2)]
    ran = [stands(number, IN_USER, 41, ran_s=5.9, cpu_s=10.9) for number in (1, 2)]
    snapshot = window((waits(0, 40), *slow), (waits(0, 41), *ran))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("straggler", (1, 2))
    assert "Ranks 1-2 are in load_batch (train.py:20) and they are still running" in (
        snapshot.verdict.summary
    )


def test_a_collective_waits_for_the_ranks_of_its_own_group() -> None:
    first, second = ("10", [0, 1, 2]), ("11", [3, 4, 5])
    graph = twice(
        in_group(waits(0), *first),
        in_group(stands(1, IN_USER), *first),
        in_group(waits(2), *first),
        in_group(waits(3), *second),
        in_group(stands(4, IN_USER), *second),
        in_group(waits(5), *second),
    ).graph
    lacks = [
        (edge.waiter[-9:], edge.awaited) for edge in graph.edges if "not reached" in edge.because
    ]
    assert sorted(lacks) == [("group 10)", "rank 1"), ("group 11)", "rank 4")]
