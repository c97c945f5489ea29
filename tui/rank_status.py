"""How a rank stands, in one symbol and one word: the same on every screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dsray_inspect.agent.causes import badge_of
from dsray_inspect.agent.model import OK, Snapshot, VerdictState, Worker
from dsray_inspect.agent.stacks.memo import of_newest
from dsray_inspect.agent.text.humanize import compact
from dsray_inspect.tui.rows import Look

MOST_NAMED = 3


class RankStatus(NamedTuple):
    """One way to stand; those in most trouble come first."""

    trouble: int
    symbol: str
    word: str
    look: Look
    meaning: str


DEAD = RankStatus(0, "†", "dead", "error", "its process or its node is gone")
CULPRIT = RankStatus(1, "✗", "BLOCKED", "error", "a finding blames it")
STOPPED = RankStatus(2, "■", "stopped", "error", "its process is stopped (SIGSTOP)")
SUSPECT = RankStatus(3, "!", "suspect", "warning", "a finding warns of it")
UNSEEN = RankStatus(4, "?", "unseen", "warning", "no rung gave its stack")
RESTARTING = RankStatus(5, "↻", "restarts", "warning", "it is started again")
PENDING = RankStatus(6, "…", "pending", "accent", "it is not placed yet")
WAITS = RankStatus(7, "○", "waits", "warning", "in a collective that others have not come to")
RUNS = RankStatus(8, "●", "", "success", "it runs")
ENDED = RankStatus(9, "·", "ended", "dim", "the run is over")
ALL = (CULPRIT, SUSPECT, DEAD, STOPPED, UNSEEN, WAITS, RESTARTING, PENDING, RUNS, ENDED)

BY_STATE: Mapping[str, RankStatus] = {
    "dead": DEAD,
    "stopped": STOPPED,
    "restarting": RESTARTING,
    "pending": PENDING,
}
VERDICTS: Mapping[VerdictState, tuple[str, Look]] = {
    "healthy": ("●", "success"),
    "starting": ("…", "accent"),
    "degraded": ("!", "warning"),
    "hung": ("✗", "error"),
    "failed": ("✗", "error"),
    "finished": ("■", "accent"),
    "unknown": ("?", "warning"),
}


@of_newest
def standings(snapshot: Snapshot) -> Mapping[str, RankStatus]:
    """Return how each rank stands, by actor id."""
    errors: dict[int, str] = {}
    warnings: dict[int, str] = {}

    for finding in snapshot.findings:
        blamed = errors if finding.severity == "error" else warnings

        for rank in finding.ranks:
            blamed.setdefault(rank, finding.cause)

    over = snapshot.job.has_ended
    stuck = snapshot.verdict.state in ("hung", "degraded", "failed")
    awaited = [rank for rank in snapshot.verdict.ranks if rank in errors or rank in warnings]
    waits = WAITS._replace(word=f"waits {some(awaited)}".strip())
    found = {}

    for worker in snapshot.workers:
        usual = worker.state == "alive" and worker.evidence.stack == OK and not over
        is_blamed = worker.rank in errors or worker.rank in warnings

        if usual and not is_blamed and worker.phase != "finished":
            waiting = stuck and worker.waiting_in is not None
            found[worker.actor_id] = waits if waiting else RUNS
        else:
            found[worker.actor_id] = standing(worker, errors, warnings, over=over)

    return found


def some(ranks: list[int]) -> str:
    return compact(sorted(ranks)) if len(ranks) <= MOST_NAMED else f"{len(ranks)} ranks"


def standing(
    worker: Worker, errors: Mapping[int, str], warnings: Mapping[int, str], *, over: bool
) -> RankStatus:
    """Return how a rank stands that does not just run or wait."""
    if over:
        return ENDED

    if worker.state in BY_STATE:
        return BY_STATE[worker.state]

    for blamed, base in ((errors, CULPRIT), (warnings, SUSPECT)):
        if worker.rank is not None and worker.rank in blamed:
            return base._replace(word=badge_of(blamed[worker.rank], base.word))

    return UNSEEN if worker.evidence.stack != OK else ENDED._replace(word="done")
