"""What the screens are made of: rows of styled text, drawn when they are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, overload

from dsray_inspect.agent.text.truncate import Cut, cut_end

Look = Literal[
    "", "bold", "dim", "error", "warning", "success", "accent", "head",
    "user", "ray", "deepspeed", "torch", "collective", "cool", "warm", "still",
]  # fmt: skip
"""A name of the style sheet: `.rows--error` and so on."""
LOOKS: tuple[Look, ...] = (
    "bold", "dim", "error", "warning", "success", "accent", "head",
    "user", "ray", "deepspeed", "torch", "collective", "cool", "warm", "still",
)  # fmt: skip
Part = tuple[str, Look]
Draw = Callable[[int], Sequence[Part]]


class Row(NamedTuple):
    """One line of a screen. Rows without a key are passed over by the cursor."""

    key: str
    draw: Draw
    target: str = ""
    """Where Enter leads: `rank:1`, `fold:KEY`, `view:stacks`; nowhere when empty."""
    text: str = ""
    """What `/` looks in, and what `y` copies unless `copy` says otherwise."""
    copy: str = ""


class LazyRows(Sequence[Row]):
    """Rows between others that are made when they are looked at: of thousands, a screenful."""

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
        self.keys = [*(one.key for one in head), *keys, *(one.key for one in tail)]

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

        at = index - len(self._head)

        if at < 0:
            return self._head[index]

        if at >= len(self) - len(self._head) - len(self._tail):
            return self._tail[index - len(self)]

        if at not in self._made:
            self._made[at] = self._make(at)

        return self._made[at]


def keys_of(rows: Sequence[Row]) -> Sequence[str]:
    """Return the keys of rows, without making those that need not be."""
    return rows.keys if isinstance(rows, LazyRows) else [row.key for row in rows]


class Cell(NamedTuple):
    """A text in a column of its own."""

    text: str
    look: Look = ""
    cut: Cut = cut_end


def row(key: str, *parts: Part, target: str = "", copy: str = "") -> Row:
    """Return a row whose text does not depend on the width."""
    return Row(key, lambda _: parts, target, "".join(text for text, _ in parts), copy)


def blank() -> Row:
    return row("")


def heading(text: str, rest: str = "") -> Row:
    return row("", (f" {text}", "head"), (f"  {rest}" if rest else "", "dim"))


def fitted(cells: Sequence[Cell], widths: Sequence[int], *, gap: int = 2) -> list[Part]:
    """Return cells in columns; a negative width aligns at the right."""
    parts: list[Part] = []

    for cell, width in zip(cells, widths, strict=True):
        room = abs(width)
        text = cell.cut(cell.text, room) if room else ""
        padded = text.rjust(room) if width < 0 else text.ljust(room)
        parts.append((padded + " " * (gap if room else 0), cell.look))

    return parts


def joined(cells: Iterable[Part]) -> list[Part]:
    """Return cells that look alike and stand side by side as one part."""
    parts: list[Part] = []

    for text, look in cells:
        if parts and parts[-1][1] == look:
            parts[-1] = (parts[-1][0] + text, look)
        else:
            parts.append((text, look))

    return parts


def width_of(parts: Sequence[Part]) -> int:
    return sum(len(text) for text, _ in parts)
