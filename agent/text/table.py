"""Columns that line up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsray_inspect.agent.text.truncate import WIDEST, Cut

_NARROWEST = 10
"""A column that may be cut keeps at least this width."""


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    indent: str = "",
    cuts: Mapping[int, Cut] | None = None,
    widest: int = WIDEST,
) -> str:
    """Return the rows under their heads, each column as wide as its widest cell.

    Args:
        heads: One head a column.
        rows: The cells, as many a row as there are heads.
        indent: Stands before every line.
        cuts: How the cells of a column, by its number, are shortened in a table that would be
            wider than `widest`; the widest of these columns gives way first.
        widest: Columns of the terminal.
    """
    cuts = cuts or {}
    widths = _widths_of(heads, rows)
    given_way = _narrowed(widths, tuple(cuts), widest - len(indent))
    shown = [
        [
            cuts[n](cell, given_way[n]) if n in cuts and given_way[n] < widths[n] else cell
            for n, cell in enumerate(row)
        ]
        for row in rows
    ]
    widths = _widths_of(heads, shown)
    return "\n".join(
        (
            indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *shown)
    )


def _widths_of(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]


def _narrowed(widths: Sequence[int], columns: Sequence[int], widest: int) -> list[int]:
    """Return the widths with these columns made narrower, until the table fits or they cannot."""
    narrow = list(widths)

    while sum(narrow) + 2 * (len(narrow) - 1) > widest:
        broadest = max(columns, key=lambda n: narrow[n], default=None)

        if broadest is None or narrow[broadest] <= _NARROWEST:
            break

        narrow[broadest] -= 1

    return narrow
