"""What the ranks did before the sample, in a few lines, from their flight recorders."""

from __future__ import annotations

from dsray_inspect.agent.history import History
from dsray_inspect.agent.text.humanize import duration, name_ranks

_MOST_LATE = 3
_STALE_STEPS = 3
"""A last step that ended this many steps ago is mentioned."""


def past_lines(history: History | None) -> list[str]:
    """Return the pace, when it ended, and the ranks that the others waited for."""
    if history is None or not history.ranks:
        return []

    line = f"before      {duration(history.span_s)} in the flight recorders"

    if history.step_s is not None:
        line += f": {history.steps} steps of {duration(history.step_s)}"

    if history.step_s is not None and history.step_ended_ns is not None:
        ago_s = (history.until_ns - history.step_ended_ns) / 1e9
        is_stale = ago_s > max(1.0, _STALE_STEPS * history.step_s)
        line += f", the last one {duration(ago_s)} ago" if is_stale else ""

    late = sorted(
        (rank for rank in history.ranks if history.is_late(rank)), key=lambda rank: -rank.late_s
    )
    return [
        line,
        *(
            f"            the others waited {duration(rank.late_s)} of it for {name_ranks([rank.rank])}"
            for rank in late[:_MOST_LATE]
        ),
    ]
