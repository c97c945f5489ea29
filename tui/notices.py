"""Warnings about what the screens show: a lost connection, a restart, ranks that cannot be read."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.model import OK, Snapshot
from dsray_inspect.agent.text.humanize import compact, name_ranks
from dsray_inspect.tui.view_state import ViewState

_MAX_HOSTS: Final = 3
_RESTART_SHOWN_S: Final = 60.0


def notices(state: ViewState, now: float) -> list[str]:
    """Return the warnings, the most serious first."""
    snapshot = state.shown

    if snapshot is None:
        return []

    lines = []

    if state.failure is not None and not state.is_paused:
        age_s = max(0.0, now - snapshot.taken_at)
        lines.append(
            f"⚠ no sample for {age_s:.0f} s: {state.failure.why} Showing the last snapshot."
        )

    if state.ended and not state.is_paused:
        lines.append(f"■ The job has ended: {snapshot.job.state}. The window stays; q quits.")

    lines += _lost_nodes(snapshot)
    restart = state.restart

    if restart is not None and 0 <= snapshot.taken_at - restart.at < _RESTART_SHOWN_S:
        ago_s = snapshot.taken_at - restart.at
        plural = len(restart.ranks) > 1
        what = "have new processes" if plural else "has a new process"
        lines.append(f"↻ restarted {ago_s:.0f} s ago: {name_ranks(restart.ranks)} {what}.")

    return [*lines, *_unread_stacks(snapshot)]


def _lost_nodes(snapshot: Snapshot) -> list[str]:
    used = {worker.node_id for worker in snapshot.workers}
    lost = [node for node in snapshot.nodes if not node.alive]

    if not any(node.node_id in used for node in lost):
        return []

    hosts = ", ".join(node.hostname or node.ip for node in lost[:_MAX_HOSTS])
    return [f"⚠ node lost: {hosts}. Its ranks are shown as last known."]


def _unread_stacks(snapshot: Snapshot) -> list[str]:
    """Return which stacks could not be read, and why."""
    if snapshot.job.has_ended:
        return []

    missing = [
        worker
        for worker in snapshot.workers
        if worker.state == "alive" and worker.evidence.stack != OK
    ]

    if not missing:
        return []

    ranks = compact(sorted(worker.rank for worker in missing if worker.rank is not None))
    which = f"{len(missing)} of {len(snapshot.workers)} ranks ({ranks or 'some'})"
    why = missing[0].evidence.stack
    because = "" if why in snapshot.verdict.summary else f": {why}"
    return [f"? no stack of {which}{because}. Run dsray-inspect doctor for the fix."]
