"""Rows of styled text, which every screen consists of; a row is drawn when it becomes visible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, overload

from dsray_inspect.agent.text.truncate import Cut, cut_end
from dsray_inspect.tui.targets import Target

StyleName = Literal[
    "", "bold", "dim", "error", "warning", "success", "accent", "head",
    "user", "ray", "deepspeed", "torch", "collective", "cool", "warm", "still",
]  # fmt: skip
"""A class of the style sheet: `.rows--error` and so on."""
STYLE_NAMES: tuple[StyleName, ...] = (
    "bold", "dim", "error", "warning", "success", "accent", "head",
    "user", "ray", "deepspeed", "torch", "collective", "cool", "warm", "still",
)  # fmt: skip
Part = tuple[str, StyleName]
Draw = Callable[[int], Sequence[Part]]
"""Draws a row for a given width."""


class Row(NamedTuple):
    """One line of a screen. The cursor skips rows without a key."""

    key: str
    draw: Draw
    target: Target = None
    """Where Enter leads."""
    text: str = ""
    """What the filter searches, and what `y` copies unless `copy` is set."""
    copy: str = ""
    ranks: tuple[int, ...] = ()
    """The ranks that keys such as `l` apply to when the cursor is on this row."""


class LazyRows(Sequence[Row]):
    """A long list of rows between a head and a tail; each row is made when it is first read."""

    def __init__(
        self,
        head: Sequence[Row],
        keys: Sequence[str],
        make: Callable[[int], Row],
        tail: Sequence[Row],
    ) -> None:
        self._head = head
        self._make = make
        self._tail = tail
        self._made: dict[int, Row] = {}
        self.keys = [*(row.key for row in head), *keys, *(row.key for row in tail)]

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]

        if index < 0 or index >= len(self):
            raise IndexError(index)

        position = index - len(self._head)

        if position < 0:
            return self._head[index]

        if position >= len(self) - len(self._head) - len(self._tail):
            return self._tail[index - len(self)]

        if position not in self._made:
            self._made[position] = self._make(position)

        return self._made[position]


def keys_of(rows: Sequence[Row]) -> Sequence[str]:
    """Return the keys of rows without making the lazy ones."""
    return rows.keys if isinstance(rows, LazyRows) else [row.key for row in rows]


class Cell(NamedTuple):
    """A text in a column of its own."""

    text: str
    style: StyleName = ""
    cut: Cut = cut_end


def row(key: str, *parts: Part, target: Target = None, copy: str = "") -> Row:
    """Return a row that looks the same at every width."""
    return Row(key, lambda _: parts, target, "".join(text for text, _ in parts), copy)


def blank() -> Row:
    return row("")


def heading(text: str, rest: str = "") -> Row:
    return row("", (f" {text}", "head"), (f"  {rest}" if rest else "", "dim"))


def columns(cells: Sequence[Cell], widths: Sequence[int], *, gap: int = 2) -> list[Part]:
    """Return cells in columns.

    Args:
        cells: The texts, from left to right.
        widths: The width of each column; negative: right-aligned; 0: the column is left out.
        gap: The number of spaces between columns.
    """
    parts: list[Part] = []

    for cell, width in zip(cells, widths, strict=True):
        room = abs(width)
        text = cell.cut(cell.text, room) if room else ""
        padded = text.rjust(room) if width < 0 else text.ljust(room)
        parts.append((padded + " " * (gap if room else 0), cell.style))

    return parts


def joined(cells: Iterable[Part]) -> list[Part]:
    """Merge adjacent parts of the same style."""
    parts: list[Part] = []

    for text, style in cells:
        if parts and parts[-1][1] == style:
            parts[-1] = (parts[-1][0] + text, style)
        else:
            parts.append((text, style))

    return parts


def width_of(parts: Sequence[Part]) -> int:
    return sum(len(text) for text, _ in parts)
