"""Ranks that are slower than their peers, by the moments at which they enter collectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.remote import flight_recorder
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import IN_USER, rank, sample_of, twice, with_progress


def came(lateness_s: Sequence[float], parts: int = 3, step_s: float = 1.0) -> dict[str, Any]:
    """Return what a rank's recorder tells that is so late to the first collective of each step.

    To the others it comes together with all, in the middle of the step, 1 ms apart.
    """
    entries = []

    for step, late_s in enumerate(lateness_s):
        for part in range(parts):
            at_s = step * step_s + (late_s if part == 0 else step_s / 2 + part * 0.001)
            entries.append(
                {
                    "is_p2p": False,
                    "process_group": ("1", "default"),
                    "collective_seq_id": step * parts + part,
                    "time_created_ns": int(at_s * 1e9),
                }
            )

    return flight_recorder.arrivals(entries)


def at_pace(number: int, arrivals: Mapping[str, Any]) -> dict[str, Any]:
    return {**with_progress(rank(number, IN_USER, 0.1)), "collectives": [], "arrivals": arrivals}


def late_by(late_s: float, steps: int = 8, **shape: Any) -> Snapshot:
    """Return what is seen of three ranks the last of which is late to each step."""
    return twice(
        *(at_pace(number, came([late_s * (number == 2)] * steps, **shape)) for number in range(3))
    )


@pytest.mark.parametrize(("late_s", "cause"), [(0.45, "straggler"), (0.005, None)])
def test_a_straggler_is_known_by_the_time_lost_to_it(late_s: float, cause: str | None) -> None:
    verdict = late_by(late_s).verdict
    assert verdict.cause == cause
    assert verdict.ranks == ((2,) if cause else ())


def test_a_straggler_is_known_among_hundreds_of_collectives_a_step() -> None:
    verdict = late_by(0.45, parts=250).verdict
    assert (verdict.cause, verdict.ranks) == ("straggler", (2,))


@pytest.mark.parametrize("late", [0, 2])
def test_a_straggler_is_known_whatever_its_hosts_clock_says(late: int) -> None:
    ranks = [at_pace(number, came([0.45 * (number == late)] * 8)) for number in range(3)]
    ranks[2]["arrivals"] = {
        "1": [(sequence, at_ns + 77_000_000_000) for sequence, at_ns in ranks[2]["arrivals"]["1"]]
    }
    verdict = twice(*ranks, actors={2: {"node_id": "n2"}}).verdict
    assert (verdict.cause, verdict.ranks) == ("straggler", (late,))


@pytest.mark.parametrize(
    "lateness_s",
    [
        pytest.param([0.0] * 40 + [0.08] * 8, id="a second of it, now"),
        pytest.param([0.08] * 30 + [0.0] * 30, id="while it caught up"),
        pytest.param([0.08] * 50 + [0.0] * 10, id="until two seconds ago"),
        pytest.param([0.0] * 50 + [0.08] * 18, id="for three seconds, now"),
        pytest.param([0.0] * 30 + [0.09] + [0.0] * 30, id="once"),
    ],
)
def test_late_for_a_while_makes_no_straggler(lateness_s: Sequence[float]) -> None:
    others = [0.0] * len(lateness_s)
    ranks = [
        at_pace(number, came(lateness_s if number == 2 else others, step_s=0.18))
        for number in range(3)
    ]
    assert twice(*ranks).findings == ()


def test_one_long_pause_makes_no_straggler() -> None:
    ranks = [at_pace(number, came([0.03 * (number == 2)] * 8)) for number in range(3)]
    paused = dict(ranks[2]["arrivals"]["1"]) | {12: int(9e9)}
    ranks[2]["arrivals"] = {"1": sorted(paused.items())}
    assert twice(*ranks).findings == ()


def test_a_straggler_is_known_in_quick_steps() -> None:
    """Late by 40 ms in each step of 100 ms: the newest hundred arrivals cover two seconds of it."""
    verdict = late_by(0.04, steps=150, step_s=0.1).verdict
    assert (verdict.cause, verdict.ranks) == ("straggler", (2,))


def test_a_straggler_is_known_over_several_samples_where_a_recorder_holds_a_moment() -> None:
    """Hundreds of collectives a step fill a recorder in a second."""
    arrivals = [came([0.04 * (number == 2)] * 120, step_s=0.1)["1"] for number in range(3)]
    last = None

    for until in range(30, 361, 30):
        ranks = (
            at_pace(number, {"1": own[max(0, until - 60) : until]})
            for number, own in enumerate(arrivals)
        )
        observation = sample_of(*ranks).observation
        observation.taken_at = 100.0 + until / 30
        last = assemble(observation, earlier=last)

    assert last is not None
    assert (judge(last).verdict.cause, judge(last).verdict.ranks) == ("straggler", (2,))
