"""How a rank stands, in one symbol and one word: the same on every screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dsray_inspect.agent.explanation import waiting_in
from dsray_inspect.agent.model import OK, Snapshot, VerdictState, Worker
from dsray_inspect.agent.text.spans import compact
from dsray_inspect.tui.lines import Look

MOST_NAMED = 3


class Standing(NamedTuple):
    """One way to stand; those in most trouble come first."""

    trouble: int
    symbol: str
    word: str
    look: Look
    meaning: str


DEAD = Standing(0, "†", "dead", "error", "its process or its node is gone")
CULPRIT = Standing(1, "✗", "BLOCKED", "error", "a finding blames it")
STOPPED = Standing(2, "■", "stopped", "error", "its process is stopped (SIGSTOP)")
SUSPECT = Standing(3, "!", "suspect", "warning", "a finding warns of it")
UNSEEN = Standing(4, "?", "unseen", "warning", "no rung gave its stack")
RESTARTING = Standing(5, "↻", "restarts", "warning", "it is started again")
PENDING = Standing(6, "…", "pending", "accent", "it is not placed yet")
WAITS = Standing(7, "○", "waits", "warning", "in a collective that others have not come to")
RUNS = Standing(8, "●", "", "success", "it runs")
ENDED = Standing(9, "·", "ended", "dim", "the run is over")
ALL = (CULPRIT, SUSPECT, DEAD, STOPPED, UNSEEN, WAITS, RESTARTING, PENDING, RUNS, ENDED)

BY_STATE: Mapping[str, Standing] = {
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
WORDS = {
    "straggler": "SLOW",
    "data_stall": "STARVED",
    "gil_held": "GIL HELD",
    "config_drift": "DRIFTS",
    "device_conflict": "SHARES GPU",
    "collective_mismatch": "MISMATCH",
    "rank_divergence": "DIVERGED",
    "rendezvous_wait": "NOT THERE",
    "op_compile_lock": "LOCKED",
    "op_compile_slow": "COMPILES",
    "report_barrier": "NO REPORT",
}


def standings(snapshot: Snapshot) -> dict[str, Standing]:
    """Return how each rank stands, by actor id."""
    errors: dict[int, str] = {}
    warnings: dict[int, str] = {}

    for finding in snapshot.findings:
        blamed = errors if finding.severity == "error" else warnings

        for rank in finding.ranks:
            blamed.setdefault(rank, finding.cause)

    stuck = snapshot.verdict.state in ("hung", "degraded", "failed")
    awaited = [rank for rank in snapshot.verdict.ranks if rank in errors or rank in warnings]
    waits = WAITS._replace(word=f"waits {some(awaited)}".strip())
    return {
        worker.actor_id: standing(worker, errors, warnings, waits if stuck else None, snapshot)
        for worker in snapshot.workers
    }


def some(ranks: list[int]) -> str:
    return compact(sorted(ranks)) if len(ranks) <= MOST_NAMED else f"{len(ranks)} ranks"


def standing(
    worker: Worker,
    errors: Mapping[int, str],
    warnings: Mapping[int, str],
    waits: Standing | None,
    snapshot: Snapshot,
) -> Standing:
    if snapshot.job.has_ended:
        return ENDED

    if worker.state in BY_STATE:
        return BY_STATE[worker.state]

    for blamed, base in ((errors, CULPRIT), (warnings, SUSPECT)):
        if worker.rank is not None and worker.rank in blamed:
            word = WORDS.get(blamed[worker.rank], base.word)
            return base._replace(word=word)

    if worker.evidence.stack != OK:
        return UNSEEN

    if waits is not None and waiting_in(worker) is not None:
        return waits

    return ENDED._replace(word="done") if worker.phase == "finished" else RUNS
