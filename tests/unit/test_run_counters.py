"""What samples add up to."""

from __future__ import annotations

import msgspec
import pytest

from dsray_inspect.exporters.metrics import STEP_BUCKETS_S
from dsray_inspect.exporters.run_counters import UNNAMED_SAMPLES, RunCounters
from tests.unit import snapshots

FIRST = snapshots.recorded("hung")  # ranks 0 and 2 wait in a collective, rank 1 is in user code


def tallied(*seen: object) -> RunCounters:
    tally = RunCounters()
    for snapshot in seen:
        if snapshot is None:
            tally.skip()
        else:
            assert isinstance(snapshot, type(FIRST))
            tally.add(snapshot)
    return tally


def test_time_between_looks_counts_for_what_the_second_one_finds() -> None:
    later = snapshots.changed(FIRST, 2.0, rank=1, phase="data")
    tally = tallied(FIRST, later, snapshots.changed(later, 0.5))
    assert tally.ranks[0].phase_s == {"grad_reduce": 2.5}
    assert tally.ranks[1].phase_s == {"user": 0.0, "data": 2.5}
    assert (tally.ranks[0].wait_s, tally.ranks[1].wait_s) == (2.5, 0.0)


def test_a_stretch_without_looks_counts_for_nothing() -> None:
    tally = tallied(FIRST, None, snapshots.changed(FIRST, 300.0), snapshots.changed(FIRST, 301.0))
    assert tally.ranks[0].phase_s == {"grad_reduce": 1.0}


def test_a_dead_rank_is_in_no_phase() -> None:
    tally = tallied(FIRST, snapshots.changed(FIRST, 4.0, rank=1, state="dead"))
    assert tally.ranks[1].phase_s == {"user": 0.0}


def test_steps_are_counted_from_the_first_look_on() -> None:
    tally = tallied(*(snapshots.at_step(FIRST, n, 100 + 3 * n) for n in range(5)))
    assert (tally.ranks[0].steps, tally.ranks[0].step) == (12, 112)
    assert tally.ranks[0].last_step_at == FIRST.taken_at + 4


def test_the_last_step_of_a_rank_that_hung_before_we_came_is_not_now() -> None:
    idle_s = FIRST.workers[0].idle_s
    assert idle_s is not None
    assert idle_s > 100
    tally = tallied(FIRST, snapshots.changed(FIRST, 10.0))
    assert tally.ranks[0].last_step_at == pytest.approx(FIRST.taken_at - idle_s)


def test_a_step_that_one_look_does_not_tell_is_not_lost() -> None:
    unknown = snapshots.changed(FIRST, 1.0, step=None)
    tally = tallied(snapshots.at_step(FIRST, 0, 10), unknown, snapshots.at_step(FIRST, 2, 14))
    assert tally.ranks[0].steps == 4


def test_a_restart_from_a_checkpoint_takes_no_steps_back() -> None:
    before = snapshots.at_step(FIRST, 1, 110)
    again = snapshots.restarted(FIRST, 10, step=50)
    tally = tallied(
        snapshots.at_step(FIRST, 0, 100), before, again, snapshots.at_step(again, 1, 52)
    )
    assert (tally.restarts, tally.ranks[0].steps, tally.ranks[0].step) == (1, 12, 52)


def test_ranks_that_are_gone_are_forgotten_when_a_smaller_group_is_known() -> None:
    smaller = snapshots.restarted(FIRST, 10)
    smaller = msgspec.structs.replace(smaller, workers=smaller.workers[:2])
    assert sorted(tallied(FIRST, smaller).ranks) == [0, 1]


def test_the_run_keeps_its_name_while_its_controller_is_silent() -> None:
    assert FIRST.run is not None
    silent = msgspec.structs.replace(FIRST, run=msgspec.structs.replace(FIRST.run, id=None))
    assert tallied(FIRST, silent).run_id == FIRST.run.id
    assert tallied(silent).run_id == ""
    assert tallied(*[silent] * UNNAMED_SAMPLES).run_id == FIRST.job.job_id
    assert tallied(*[silent] * UNNAMED_SAMPLES, FIRST).run_id == FIRST.run.id


def test_a_rank_that_a_look_does_not_tell_is_known_by_its_actor() -> None:
    tally = tallied(FIRST)
    anonymous = msgspec.structs.replace(FIRST.workers[2], rank=None)
    assert tally.rank_of(anonymous) == 2
    assert RunCounters().rank_of(anonymous) is None


def buckets(tally: RunCounters) -> dict[float, int]:
    return {
        end: count
        for end, count in zip(
            (*STEP_BUCKETS_S, float("inf")), tally.step_durations.counts, strict=True
        )
        if count
    }


def test_fast_steps_count_with_the_mean_between_two_samples() -> None:
    # The first interval begins in the middle of a step, so it is left out.
    tally = tallied(*(snapshots.at_step(FIRST, n, 20 * n) for n in range(5)))
    assert buckets(tally) == {0.05: 60}
    assert tally.step_durations.sum_s == pytest.approx(3.0)


def test_slow_steps_take_from_change_to_change() -> None:
    tally = tallied(*(snapshots.at_step(FIRST, n, n // 20) for n in range(61)))
    assert buckets(tally) == {25.0: 2}
    assert tally.step_durations.sum_s == pytest.approx(40.0)


def test_the_time_of_a_restart_is_no_step() -> None:
    ran = [snapshots.at_step(FIRST, n, 20 * n) for n in range(3)]
    again = snapshots.restarted(FIRST, 120, step=0)
    tally = tallied(*ran, again, *(snapshots.at_step(again, n, 20 * n) for n in range(1, 3)))
    assert set(buckets(tally)) == {0.05}


def test_buckets_are_cumulated() -> None:
    tally = tallied(*(snapshots.at_step(FIRST, n, 20 * n) for n in range(3)))
    cumulative = dict(tally.step_durations.cumulative())
    assert (cumulative["0.025"], cumulative["0.05"], cumulative["+Inf"]) == (0, 20, 20)
