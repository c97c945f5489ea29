"""What the ranks did before the look, in a few lines, from their flight recorders."""

from __future__ import annotations

from dsray_inspect.agent.history import History
from dsray_inspect.agent.text.humanize import duration, name_ranks

MOST_LATE = 3
STALE_STEPS = 3
"""A last step that is as many steps ago is worth a word."""


def past_lines(history: History | None) -> list[str]:
    """Return how fast it went, until when, and whom the others waited for."""
    if history is None or not history.ranks:
        return []

    told = f"before      {duration(history.span_s)} in the flight recorders"

    if history.step_s is not None:
        told += f": {history.steps} steps of {duration(history.step_s)}"

    if history.step_s is not None and history.step_ended_ns is not None:
        ago_s = (history.until_ns - history.step_ended_ns) / 1e9
        is_stale = ago_s > max(1.0, STALE_STEPS * history.step_s)
        told += f", the last one {duration(ago_s)} ago" if is_stale else ""

    late = sorted(
        (one for one in history.ranks if history.is_late(one)), key=lambda one: -one.late_s
    )
    return [
        told,
        *(
            f"            the others waited {duration(one.late_s)} of it for {name_ranks([one.rank])}"
            for one in late[:MOST_LATE]
        ),
    ]
