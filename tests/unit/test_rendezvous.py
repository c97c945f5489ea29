"""Ranks that set up a process group while others are elsewhere."""

from __future__ import annotations

from typing import Any

from tests.unit.samples import (
    IN_USER,
    INIT,
    RUNNER,
    TEACH,
    rank,
    twice,
    waits,
    window,
    with_progress,
)


def joins(number: int, idle_s: float = 12) -> dict[str, Any]:
    """Return a rank that sets up a process group."""
    return with_progress(rank(number, (RUNNER, TEACH, INIT), idle_s))


def test_who_sleeps_while_others_make_a_group_is_to_blame() -> None:
    asleep = with_progress(rank(0, IN_USER, 12))
    snapshot = twice(asleep, joins(1), joins(2))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", "rank_blocked_in_user_code")
    assert snapshot.verdict.ranks == (0,)
    assert "ranks 1-2 are waiting for it" in snapshot.verdict.summary
    assert "ranks 1-2: in init_process_group, for up to 12.0 s" in snapshot.findings[0].evidence


def test_who_makes_a_group_while_others_train_has_diverged() -> None:
    snapshot = twice(waits(0), joins(1), waits(2))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", "rank_divergence")
    assert snapshot.verdict.ranks == (1,)


def test_who_comes_to_a_new_group_a_little_later_is_only_named() -> None:
    before = with_progress(rank(0, IN_USER, 0.1))
    now = with_progress(rank(0, IN_USER, 0.1), ran_s=5.9, cpu_s=10.9)
    snapshot = window((before, joins(1), joins(2)), (now, joins(1), joins(2)))
    [finding] = snapshot.findings
    assert (finding.cause, finding.severity, finding.ranks) == ("rendezvous_wait", "warning", (0,))
    assert finding.summary.endswith("rank 0 has not reached it.")
