"""Healthy is who makes progress: steps and collectives count, not the use of a CPU."""

from __future__ import annotations

from typing import Any

import pytest

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.detectors.evidence.progress import (
    needs_counters,
    needs_recorders,
    paces,
)
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import (
    IN_DATA,
    IN_GET,
    IN_REDUCE,
    IN_REPORT,
    IN_SAVE,
    IN_USER,
    RUNNER,
    TEACH,
    entered,
    in_group,
    rank,
    sample_of,
    stands,
    waits,
    with_progress,
)

APART_S = 1.0
LOOP = ("_run_once", "BaseEventLoop._run_once", "/usr/lib/python3.11/asyncio/base_events.py", 1890)
IN_LOOP = (RUNNER, TEACH, LOOP)
ENDED = (RUNNER,)
RUNS = {"ran_s": 5.9, "cpu_s": 10.9}
"""What a rank that computes adds to its counters in a second."""
POLLS = {"ran_s": 5.08, "cpu_s": 10.1}
"""What a rank adds that asks for a file again and again."""


def samples(
    *before_and_now: tuple[Any, ...], apart_s: float = APART_S, **more: Any
) -> AnalysisInput:
    """Return the last of several samples of a session."""
    last: AnalysisInput | None = None

    for number, ranks in enumerate(before_and_now):
        observation = sample_of(*ranks, **more).observation
        observation.taken_at = 100.0 + number * apart_s
        last = assemble(observation, earlier=last)

    assert last is not None
    return last


def judged(*ranks: tuple[dict[str, Any], dict[str, Any]], **more: Any) -> Snapshot:
    """Return the verdict of two samples, of each rank before and now."""
    before, now = zip(*ranks, strict=True)
    return judge(samples(before, now, **more))


def outside(
    number: int, frames: Any, since_s: float, **now: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a rank that has entered no collective for so long, before and now."""
    return stands(number, frames, since_s - APART_S), stands(number, frames, since_s, **now)


@pytest.mark.parametrize("frames", [IN_USER, IN_DATA, IN_LOOP, IN_GET])
@pytest.mark.parametrize("uses", [{}, POLLS])
def test_who_polls_is_never_healthy(frames: Any, uses: dict[str, Any]) -> None:
    snapshot = judged(*(outside(number, frames, 15, idle_s=0.01, **uses) for number in range(3)))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("unknown", None)
    assert "No new step or collective for 15.0 s (at most 50 ms before)" in snapshot.verdict.summary


def test_an_outlook_without_progress_says_where_the_ranks_are() -> None:
    summary = judged(*(outside(number, IN_USER, 15) for number in range(3))).verdict.summary
    assert summary.endswith("and ranks 0-2 hardly run in load_batch (train.py:20).")


@pytest.mark.parametrize(("since_s", "state"), [(3, "healthy"), (15, "healthy"), (45, "unknown")])
def test_who_computes_is_healthy_for_a_while(since_s: float, state: str) -> None:
    snapshot = judged(*(outside(number, IN_USER, since_s, **RUNS) for number in range(3)))
    assert (snapshot.verdict.state, snapshot.findings) == (state, ())


def test_a_checkpoint_that_is_written_is_progress() -> None:
    writes = {"moved_bytes": 80 << 20}
    saves = tuple(outside(number, IN_SAVE, 90, **writes) for number in range(2))
    assert judged(*saves).verdict.state == "healthy"
    reads = tuple(outside(number, IN_USER, 90, **writes) for number in range(2))
    assert judged(*reads).verdict.state == "unknown"


def test_a_long_step_is_usual_where_steps_are_long() -> None:
    ranks = [outside(number, IN_USER, 20) for number in range(2)]
    usual = [
        tuple({**answer, "longest_gap_s": 19.0} for answer in before_and_now)
        for before_and_now in ranks
    ]
    assert judged(*usual).verdict.state == "healthy"  # type: ignore[arg-type]


def test_all_that_wait_for_one_that_works_are_healthy() -> None:
    def waiting(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        return waits(number, 7), waits(number, 8)

    works, stops = outside(1, IN_USER, 8, **RUNS), outside(1, IN_USER, 8, **POLLS)
    assert judged(waiting(0), works, waiting(2)).verdict.state == "healthy"
    assert judged(waiting(0), stops, waiting(2)).verdict.state != "healthy"


def test_a_collective_that_all_are_in_and_that_does_not_end_is_not_healthy() -> None:
    snapshot = judged(*((waits(number, 11), waits(number, 12)) for number in range(3)))
    assert snapshot.verdict.state == "unknown"
    assert "nobody whom they wait for was seen at work" in snapshot.verdict.summary


def test_another_group_that_advances_does_not_hide_one_that_waits_in_vain() -> None:
    stuck = [
        (in_group(waits(number, 11), "8", [0, 1]), in_group(waits(number, 12), "8", [0, 1]))
        for number in (0, 1)
    ]
    moves = [
        tuple(in_group(stands(number, IN_USER, 0.1), "9", [2, 3]) for _ in range(2))
        for number in (2, 3)
    ]
    assert judged(*stuck, *moves).verdict.state == "unknown"  # type: ignore[arg-type]


def test_the_last_rank_at_work_is_healthy_when_the_others_are_done() -> None:
    done = [outside(number, ENDED, 20) for number in (1, 2)]
    snapshot = judged(outside(0, IN_USER, 20, **RUNS), *done)
    assert snapshot.verdict.state == "healthy"
    assert "rank 0 is at work in load_batch (train.py:20)" in snapshot.verdict.summary


def never(number: int, **now: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a rank that has made no step and has entered no collective."""
    plain = {**rank(number, IN_USER, 0.1), "step": 0, "collectives": []}
    return with_progress(plain), with_progress(plain, **now)


def test_before_the_first_step_ranks_at_work_are_starting() -> None:
    snapshot = judged(*(never(number, **RUNS) for number in range(3)))
    assert snapshot.verdict.state == "starting"
    assert "No rank has made a step or entered a collective yet" in snapshot.verdict.summary
    assert judged(*(never(number) for number in range(3))).verdict.state == "unknown"


def test_without_a_rhythm_a_long_rest_is_no_hang() -> None:
    ranks = [outside(number, IN_USER, 300) for number in range(3)]
    fresh = [
        tuple({**answer, "longest_gap_s": None} for answer in before_and_now)
        for before_and_now in ranks
    ]
    assert judged(*fresh).verdict.state == "unknown"  # type: ignore[arg-type]


def test_what_nothing_measures_is_unknown() -> None:
    """A rank whose recorder cannot be read, at a step that no sample saw change."""
    ranks = [
        with_progress(rank(number, IN_USER, 0.1), **uses)
        for number in (0, 1)
        for uses in ({}, RUNS)
    ]
    snapshot = judged((ranks[0], ranks[1]), (ranks[2], ranks[3]))
    assert snapshot.verdict.state == "unknown"
    assert "nothing shows progress" in snapshot.verdict.summary


def test_a_step_that_is_seen_to_end_is_progress() -> None:
    before = [with_progress(rank(number, IN_USER, 0.1)) for number in (0, 1)]
    now = [{**with_progress(answer, **RUNS), "step": 8} for answer in before]
    assert judged(*zip(before, now, strict=True)).verdict.state == "healthy"


def test_one_sample_knows_progress_and_no_more() -> None:
    recent = samples(tuple(stands(number, IN_USER, 0.2) for number in range(2)))
    assert judge(recent).verdict.state == "healthy"
    old = judge(samples(tuple(stands(number, IN_USER, 12) for number in range(2))))
    assert old.verdict.state == "unknown"
    assert "one sample does not tell" in old.verdict.summary


def light(number: int) -> dict[str, Any]:
    """Return what a rank answers that is not asked for its recorder."""
    return rank(number, IN_USER, 0.01)


def test_a_sample_without_recorders_goes_by_what_is_known() -> None:
    full = tuple(stands(number, IN_USER, 0.2) for number in range(2))
    spare = (light(0), light(1))
    assert judge(samples(full, spare)).verdict.state == "healthy"
    late = samples(full, spare, apart_s=8.0)
    assert judge(late).verdict.state == "unknown"


@pytest.mark.parametrize(
    ("age_s", "counters", "later_s", "recorders"),
    [
        (0.2, False, 1.0, False),
        (0.2, False, 3.0, True),
        (3.0, True, 1.0, False),
        (9.0, True, 1.0, True),
    ],
)
def test_a_session_reads_more_where_progress_is_open(
    age_s: float, counters: bool, later_s: float, recorders: bool
) -> None:
    last = samples(tuple(stands(number, IN_USER, age_s) for number in range(2)))
    assert needs_counters(last) == counters
    assert needs_recorders(last, last.snapshot.taken_at + later_s) == recorders
    assert needs_counters(None)
    assert needs_recorders(None, 0.0)


def test_recorders_may_be_older_where_steps_are_seen_to_end() -> None:
    before = tuple(stands(number, IN_USER, 0.2) for number in range(2))
    now = tuple({**answer, "step": 8} for answer in before)
    last = samples(before, now)
    assert not needs_recorders(last, last.snapshot.taken_at + 3.0)
    assert needs_recorders(last, last.snapshot.taken_at + 6.0)


def test_a_message_between_two_ranks_is_progress() -> None:
    answer = {**stands(0, IN_USER, 20), "newest_age_s": 0.3}
    assert [found.pace for found in paces(samples((answer,)))] == ["advances"]


def test_who_uploads_in_a_report_is_at_work() -> None:
    uploads = outside(0, IN_REPORT, 12, moved_bytes=80 << 20)
    others = [outside(number, IN_REPORT, 12) for number in (1, 2)]
    assert judged(uploads, *others).verdict.state == "healthy"
    assert judged(outside(0, IN_REPORT, 12), *others).verdict.state == "unknown"


def test_a_restarted_rank_begins_anew() -> None:
    first = sample_of(stands(0, IN_USER, 0.2)).observation
    first.taken_at = 100.0
    again = sample_of({**light(0)}, actors={0: {"pid": 999}}).observation
    again.taken_at = 101.0
    assert judge(assemble(again, earlier=assemble(first))).verdict.state == "unknown"


def test_in_reduce_is_a_wait_that_the_recorder_dates() -> None:
    """A rank may use its CPU while it waits, as NCCL's do: it waits all the same."""
    spins = with_progress(entered(rank(0, IN_REDUCE, 0.0), 69, 12), **RUNS)
    quiet = with_progress(entered(rank(0, IN_REDUCE, 0.0), 69, 11))
    snapshot = judged((quiet, spins))
    assert snapshot.verdict.state == "unknown"
    assert snapshot.verdict.cause is None
