"""The status of a rank as a symbol and a word, the same on every screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dsray_inspect.agent.causes import badge_of
from dsray_inspect.agent.model import OK, Snapshot, VerdictState, Worker
from dsray_inspect.agent.text.humanize import compact
from dsray_inspect.tui.memo import cache_latest
from dsray_inspect.tui.rows import StyleName

_MAX_NAMED = 3


class RankStatus(NamedTuple):
    """A status; those with the lowest priority number are listed first."""

    priority: int
    symbol: str
    word: str
    style: StyleName
    meaning: str

    @property
    def is_trouble(self) -> bool:
        return self.priority <= _UNSEEN.priority


_DEAD = RankStatus(0, "†", "dead", "error", "its process or node is gone")
_CULPRIT = RankStatus(1, "✗", "BLOCKED", "error", "a finding blames it")
_STOPPED = RankStatus(2, "■", "stopped", "error", "its process is stopped (SIGSTOP)")
_SUSPECT = RankStatus(3, "!", "suspect", "warning", "a finding warns about it")
_UNSEEN = RankStatus(4, "?", "unseen", "warning", "its stack could not be read")
_RESTARTING = RankStatus(5, "↻", "restarts", "warning", "it is being restarted")
PENDING = RankStatus(6, "…", "pending", "accent", "it has not been placed yet")
_WAITS = RankStatus(
    7, "○", "waits", "warning", "waits in a collective that other ranks have not entered"
)
_RUNS = RankStatus(8, "●", "", "success", "it runs")
_ENDED = RankStatus(9, "·", "ended", "dim", "the run has ended")
ALL = (_CULPRIT, _SUSPECT, _DEAD, _STOPPED, _UNSEEN, _WAITS, _RESTARTING, PENDING, _RUNS, _ENDED)

_BY_STATE: Mapping[str, RankStatus] = {
    "dead": _DEAD,
    "stopped": _STOPPED,
    "restarting": _RESTARTING,
    "pending": PENDING,
}
VERDICTS: Mapping[VerdictState, tuple[str, StyleName]] = {
    "healthy": ("●", "success"),
    "starting": ("…", "accent"),
    "degraded": ("!", "warning"),
    "hung": ("✗", "error"),
    "failed": ("✗", "error"),
    "finished": ("■", "accent"),
    "unknown": ("?", "warning"),
}
"""Symbol and style of each verdict."""


@cache_latest
def rank_statuses(snapshot: Snapshot) -> Mapping[str, RankStatus]:
    """Return the status of each rank by its actor id."""
    errors: dict[int, str] = {}
    warnings: dict[int, str] = {}

    for finding in snapshot.findings:
        blamed = errors if finding.severity == "error" else warnings

        for rank in finding.ranks:
            blamed.setdefault(rank, finding.cause)

    over = snapshot.job.has_ended
    stuck = snapshot.verdict.state in ("hung", "degraded", "failed")
    awaited = [rank for rank in snapshot.verdict.ranks if rank in errors or rank in warnings]
    waits = _WAITS._replace(word=f"waits {_named(awaited)}".strip())
    statuses = {}

    for worker in snapshot.workers:
        usual = worker.state == "alive" and worker.evidence.stack == OK and not over
        is_blamed = worker.rank in errors or worker.rank in warnings

        if usual and not is_blamed and worker.phase != "finished":
            waiting = stuck and worker.waiting_in is not None
            statuses[worker.actor_id] = waits if waiting else _RUNS
        else:
            statuses[worker.actor_id] = _unusual_status(worker, errors, warnings, over=over)

    return statuses


def _named(ranks: list[int]) -> str:
    return compact(sorted(ranks)) if len(ranks) <= _MAX_NAMED else f"{len(ranks)} ranks"


def _unusual_status(
    worker: Worker, errors: Mapping[int, str], warnings: Mapping[int, str], *, over: bool
) -> RankStatus:
    """Return the status of a rank that does not simply run or wait."""
    if over:
        return _ENDED

    if worker.state in _BY_STATE:
        return _BY_STATE[worker.state]

    for blamed, base in ((errors, _CULPRIT), (warnings, _SUSPECT)):
        if worker.rank is not None and worker.rank in blamed:
            return base._replace(word=badge_of(blamed[worker.rank], base.word))

    return _UNSEEN if worker.evidence.stack != OK else _ENDED._replace(word="done")
