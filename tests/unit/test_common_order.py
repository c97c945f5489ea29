"""Ranks that wait for one another: who has left the order of collectives that its peers keep."""

from __future__ import annotations

from typing import Any

from tests.unit.samples import IN_REDUCE, entered, rank, twice, with_progress


def one_behind(number: int, skipped: int | None = None) -> dict[str, Any]:
    """Return a rank at its 20th step: in its all_reduce, or, having skipped one, in a barrier."""
    times = [step * 0.1 + 0.06 * (step == skipped) for step in range(19)]
    arrivals = {"1": [(40 + step, int(at * 1e9)) for step, at in enumerate(times)]}
    answer = {**entered(rank(number, IN_REDUCE, 8), 58, 8.1, finished=True), "arrivals": arrivals}

    if skipped is None:
        answer = entered(answer, 59, 8)
    else:
        answer = entered(answer, 4, 8, operation="barrier", group="0")

    return with_progress({**answer, "step": 19})


def test_a_rank_that_left_out_a_step_is_told_with_the_step() -> None:
    snapshot = twice(one_behind(0), one_behind(1, skipped=15), one_behind(2))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("rank_divergence", (1,))
    evidence = "\n".join(snapshot.findings[0].evidence)
    assert "rank 1: at step 19, its last collective of group 1 is #58, and ranks 0, 2" in evidence
    assert "late by a part of a step, and is behind since" in evidence


def test_of_two_ranks_the_one_that_left_the_common_order_is_to_blame() -> None:
    assert twice(one_behind(0), one_behind(1, skipped=15)).verdict.ranks == (1,)
    assert twice(one_behind(0), one_behind(1, skipped=99)).verdict.ranks == (0, 1)
