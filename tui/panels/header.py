"""The lines of the bars around every view."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.tui.drawing import WIDE, both_ends, wrapped
from dsray_inspect.tui.notices import notices
from dsray_inspect.tui.rank_status import VERDICTS
from dsray_inspect.tui.rows import Part, StyleName
from dsray_inspect.tui.state import AppState
from dsray_inspect.tui.targets import ViewName

VIEW_TITLES: Mapping[ViewName, str] = {
    "overview": "Overview",
    "functions": "Functions",
    "stacks": "Stacks",
    "timeline": "Timeline",
    "findings": "Findings",
    "env": "Env",
}
_MAX_NOTICES: Final = 3


def location_line(state: AppState, crumbs: Sequence[str], width: int) -> list[Part]:
    """Return the job and the location at the left, how fresh the snapshot is at the right."""
    snapshot = state.view_state.shown
    job = state.job_name if snapshot is None else snapshot.job.label
    left: list[Part] = [(f" {job}", "bold")]
    left += [(f" › {crumb}", "") for crumb in crumbs]

    if snapshot is not None and snapshot.run is not None:
        run = snapshot.run
        facts = [
            f"run {run.id[:8]}" if run.id else "",
            f"attempt {run.attempt[:4]}" if run.attempt else "",
        ]
        steps = [worker.step for worker in snapshot.workers if worker.step is not None]
        facts += [f"step {max(steps):,}".replace(",", " ")] if steps else []
        facts += [run.state] if width >= WIDE else []
        left.append(("   " + " · ".join(fact for fact in facts if fact), "dim"))

    return both_ends(left, [_freshness(state)], width)


def _freshness(state: AppState) -> Part:
    """Return whether the screen is live, and otherwise which snapshot it shows."""
    view_state = state.view_state
    snapshot = view_state.shown

    if snapshot is None:
        return ("◌ connecting ", "accent")

    if view_state.is_paused:
        to_tuple = time.gmtime if state.in_utc else time.localtime
        at = time.strftime("%H:%M:%S", to_tuple(snapshot.taken_at))
        behind_s = view_state.window[-1].taken_at - snapshot.taken_at
        behind = f" -{duration(behind_s)}" if behind_s else ""
        return (f"⏸ {at}{behind}  {view_state.position}/{len(view_state.window)} ", "accent")

    if view_state.ended:
        return ("■ ended ", "accent")

    if view_state.failure is not None:
        return ("⚠ no sample ", "error")

    return (f"● {state.source.label} ", "success")


def verdict_lines(state: AppState, width: int) -> list[list[Part]]:
    """Return the verdict in one line, or in two if it is long."""
    snapshot = state.view_state.shown

    if snapshot is None:
        return _hanging("◌ ", state.connecting_text(), width, 3, "accent")

    verdict = snapshot.verdict
    symbol, style = VERDICTS[verdict.state]
    head = f" {symbol} {verdict.state.upper()} "
    lines = wrapped(verdict.summary, width - len(head) - 1, 2)
    shown: list[list[Part]] = [[(head, style), (lines[0], "bold")]]
    return shown + [[(" " * len(head) + line, "bold")] for line in lines[1:]]


def notice_lines(state: AppState, width: int) -> list[list[Part]]:
    lines: list[list[Part]] = []

    for notice in notices(state.view_state, state.now())[:_MAX_NOTICES]:
        style: StyleName = "accent" if notice[0] in "■↻" else "warning"
        lines += _hanging("", notice, width, 2, style)

    return lines


def _hanging(
    mark: str, text: str, width: int, max_lines: int, style: StyleName
) -> list[list[Part]]:
    """Return a text whose further lines are indented below the first."""
    return [
        [(f"   {line}" if number else f" {mark}{line}", style)]
        for number, line in enumerate(wrapped(text, width - 4, max_lines))
    ]


def view_tabs(snapshot: Snapshot | None) -> list[tuple[ViewName, str, StyleName]]:
    """Return the name, title and style of each view; the findings are counted."""
    findings = snapshot.findings if snapshot is not None else ()
    has_error = any(finding.severity == "error" for finding in findings)
    style: StyleName = "error" if has_error else "warning"
    return [
        (view, f"{title} {len(findings)}", style)
        if view == "findings" and findings
        else (view, title, "dim")
        for view, title in VIEW_TITLES.items()
    ]
