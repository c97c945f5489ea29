"""The lines that stand around every view."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.tui.rank_status import VERDICTS
from dsray_inspect.tui.rows import Look, Part
from dsray_inspect.tui.view_state import notices
from dsray_inspect.tui.widgets.bars import both_ends, wrapped

if TYPE_CHECKING:
    from dsray_inspect.tui.app import InspectApp

VIEWS = (
    ("overview", "Overview"),
    ("functions", "Functions"),
    ("stacks", "Stacks"),
    ("timeline", "Timeline"),
    ("findings", "Findings"),
    ("env", "Env"),
)
WIDE = 100


def where_line(app: InspectApp, crumbs: Sequence[str], width: int) -> list[Part]:
    """Return job and place at the left, how fresh it is at the right."""
    snapshot = app.story.now
    job = app.job_name if snapshot is None else snapshot.job.label
    left: list[Part] = [(f" {job}", "bold")]
    left += [(f" › {crumb}", "") for crumb in crumbs]

    if snapshot is not None and snapshot.run is not None:
        run = snapshot.run
        facts = [
            f"run {run.id[:8]}" if run.id else "",
            f"attempt {run.attempt[:4]}" if run.attempt else "",
        ]
        steps = [one.step for one in snapshot.workers if one.step is not None]
        facts += [f"step {max(steps):,}".replace(",", " ")] if steps else []
        facts += [run.state] if width >= WIDE else []
        left.append(("   " + " · ".join(fact for fact in facts if fact), "dim"))

    return both_ends(left, [pulse(app)], width)


def pulse(app: InspectApp) -> Part:
    """Return whether what is shown is live, and how old it is otherwise."""
    story = app.story
    snapshot = story.now

    if snapshot is None:
        return ("◌ connecting ", "accent")

    if story.is_paused:
        newest = story.window[-1].taken_at
        back = newest - snapshot.taken_at
        at = time.strftime(
            "%H:%M:%S",
            time.localtime(snapshot.taken_at) if not app.in_utc else time.gmtime(snapshot.taken_at),
        )
        behind = f" -{duration(back)}" if back else ""
        return (f"⏸ {at}{behind}  {story.position}/{len(story.window)} ", "accent")

    if story.ended:
        return ("■ ended ", "accent")

    if story.unseen is not None:
        return ("⚠ not seen ", "error")

    return (f"● {app.source.label} ", "success")


def verdict_lines(app: InspectApp, width: int) -> list[list[Part]]:
    """Return the verdict in one line, in two where it is long."""
    snapshot = app.story.now

    if snapshot is None:
        return [
            [(f" ◌ {line}" if not n else f"   {line}", "accent")]
            for n, line in enumerate(wrapped(app.waiting_for(), width - 4, 3))
        ]

    verdict = snapshot.verdict
    symbol, look = VERDICTS[verdict.state]
    head = f" {symbol} {verdict.state.upper()} "
    lines = wrapped(verdict.summary, width - len(head) - 1, 2)
    shown: list[list[Part]] = [[(head, look), (lines[0], "bold")]]
    return shown + [[(" " * len(head) + line, "bold")] for line in lines[1:]]


def notice_lines(app: InspectApp, width: int) -> list[list[Part]]:
    lines: list[list[Part]] = []

    for notice in notices(app.story, app.now())[:3]:
        look: Look = "accent" if notice[0] in "■↻" else "warning"
        lines += [
            [(f" {line}" if not n else f"   {line}", look)]
            for n, line in enumerate(wrapped(notice, width - 4, 2))
        ]

    return lines


def views_with_marks(snapshot: Snapshot | None) -> list[tuple[str, str, Look]]:
    """Return the views with how many findings there are."""
    found = len(snapshot.findings) if snapshot is not None else 0
    bad = snapshot is not None and any(one.severity == "error" for one in snapshot.findings)
    mark: Look = "error" if bad else "warning" if found else "dim"
    return [
        (view, f"{title} {found}", mark) if view == "findings" and found else (view, title, "dim")
        for view, title in VIEWS
    ]
