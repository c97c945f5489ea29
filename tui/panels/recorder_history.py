"""What the ranks did before the attach, from their flight recorders: a strip for each rank."""

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
from dsray_inspect.tui.drawing import STRIP_LEFT, STRIP_RIGHT
from dsray_inspect.tui.rows import Part, Row, StyleName, blank, heading, joined, row

_LETTERS: Mapping[str, tuple[StyleName, str]] = {
    REDUCES: ("collective", "in a reduction"),
    GATHERS: ("cool", "in a gather"),
    OTHER: ("warm", "in another collective"),
    BETWEEN: ("dim", "between collectives"),
}


def history_rows(history: History | None) -> list[Row]:
    """Return the strips, or why there are none; nothing until the recorders have been read."""
    if history is None:
        return []

    if not history.ranks:
        return [blank(), row("", (f" before the attach: {history.note}", "dim"))]

    rows = [blank(), heading("before the attach", _summary(history))]
    rows += [Row("", partial(_draw_strip, rank, history.is_late(rank))) for rank in history.ranks]
    return [*rows, row("", *_legend(history))]


def _summary(history: History) -> str:
    steps = (
        f", {history.steps} steps of {duration(history.step_s)}"
        if history.step_s is not None
        else ""
    )
    return f"{duration(history.span_s)} in the flight recorders{steps}"


def _draw_strip(rank: RankHistory, is_late: bool, width: int) -> list[Part]:
    """Return a rank's cells; on a narrow screen each shows the most common of several."""
    room = max(8, min(CELLS, width - STRIP_LEFT - STRIP_RIGHT))
    late = f"late {duration(rank.late_s)}" if rank.late_s > 0 else ""
    cells = (
        _most_common(rank.cells[at * CELLS // room : (at + 1) * CELLS // room])
        for at in range(room)
    )
    return [
        *(("   ", ""), (f"rank {rank.rank:<5}", "bold"), (" │ ", "dim")),
        *joined((letter, _LETTERS[letter][0] if letter in _LETTERS else "dim") for letter in cells),
        *(("│ ", "dim"), (late, "warning" if is_late else "dim")),
    ]


def _most_common(letters: str) -> str:
    return max(letters, key=letters.count)


def _legend(history: History) -> list[Part]:
    seen = set("".join(rank.cells for rank in history.ranks))
    parts: list[Part] = [(" ", "")]

    for letter, (style, meaning) in _LETTERS.items():
        if letter in seen:
            parts += [(letter, style), (f" {meaning}  ", "dim")]

    return [*parts, ("late: how long others waited", "dim")]
