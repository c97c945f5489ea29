"""What the ranks did before the attach: a strip a rank, told from their flight recorders."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dsray_inspect.agent.history import (
    BETWEEN,
    CELLS,
    GATHERS,
    OTHER,
    REDUCES,
    History,
    RankHistory,
)
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.tui.rows import Look, Part, Row, blank, heading, joined, row

LEFT, RIGHT = 16, 20
"""Beside the strips of this view and of the looks."""
LOOKS: Mapping[str, tuple[Look, str]] = {
    REDUCES: ("collective", "in a reduction"),
    GATHERS: ("cool", "in a gather"),
    OTHER: ("warm", "in another collective"),
    BETWEEN: ("dim", "between them"),
}


def history_rows(history: History | None) -> list[Row]:
    """Return the strips, or why there are none; nothing while the recorders are read."""
    if history is None:
        return []

    if not history.ranks:
        return [blank(), row("", (f" before the attach: {history.note}", "dim"))]

    rows = [blank(), heading("before the attach", summary(history))]
    rows += [Row("", partial(strip, one, history.is_late(one))) for one in history.ranks]
    return [*rows, row("", *legend(history))]


def summary(history: History) -> str:
    steps = (
        f", {history.steps} steps of {duration(history.step_s)}"
        if history.step_s is not None
        else ""
    )
    return f"{duration(history.span_s)} in the flight recorders{steps}"


def strip(one: RankHistory, is_late: bool, width: int) -> list[Part]:
    """Return a rank's cells; those that the room does not hold are told by their most common."""
    room = max(8, min(CELLS, width - LEFT - RIGHT))
    late = f"late {duration(one.late_s)}" if one.late_s > 0 else ""
    cells = (
        most_common(one.cells[at * CELLS // room : (at + 1) * CELLS // room]) for at in range(room)
    )
    return [
        *(("   ", ""), (f"rank {one.rank:<5}", "bold"), (" │ ", "dim")),
        *joined((letter, LOOKS[letter][0] if letter in LOOKS else "dim") for letter in cells),
        *(("│ ", "dim"), (late, "warning" if is_late else "dim")),
    ]


def most_common(letters: str) -> str:
    return max(letters, key=letters.count)


def legend(history: History) -> list[Part]:
    seen = set("".join(one.cells for one in history.ranks))
    parts: list[Part] = [(" ", "")]

    for letter, (look, words) in LOOKS.items():
        if letter in seen:
            parts += [(letter, look), (f" {words}  ", "dim")]

    return [*parts, ("late: for how long others waited for it", "dim")]
