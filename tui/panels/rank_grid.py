"""All ranks of a large job in a grid; a cell shows the worst status of its ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.tui.rank_status import RankStatus
from dsray_inspect.tui.rows import Part, Row, blank, row

MAX_LINES: Final = 8
_LABEL: Final = 8
"""Columns of the rank number before each line."""


def grid(snapshot: Snapshot, by_actor: Mapping[str, RankStatus], width: int) -> list[Row]:
    """Return the grid and its legend; a cell stands for as many ranks as it takes to fit."""
    workers = sorted(
        (worker for worker in snapshot.workers if worker.rank is not None),
        key=lambda worker: worker.rank or 0,
    )
    statuses = [by_actor[worker.actor_id] for worker in workers]
    across = _cells_across(width)
    per_cell = max(1, -(-len(statuses) // (across * MAX_LINES)))
    cells = [
        _worst(statuses[start : start + per_cell]) for start in range(0, len(statuses), per_cell)
    ]
    rows = [
        Row("", partial(_draw_line, start * per_cell, cells[start : start + across]))
        for start in range(0, len(cells), across)
    ]
    return [*rows, _legend(statuses, per_cell), blank()]


def _cells_across(width: int) -> int:
    """Return the cells in a line: a multiple of eight, the usual number of GPUs in a node."""
    return max(8, (width - _LABEL - 3) // 8 * 8)


def _worst(statuses: Sequence[RankStatus]) -> RankStatus:
    return min(statuses, key=lambda status: status.priority)


def _draw_line(first_rank: int, cells: Sequence[RankStatus], _width: int) -> list[Part]:
    """Return a line; adjacent cells of one style are one part."""
    parts: list[Part] = [(f" {first_rank:>{_LABEL - 1}} ", "dim")]
    symbols = ""

    for number, cell in enumerate(cells):
        symbols += cell.symbol

        if number + 1 == len(cells) or cells[number + 1].style != cell.style:
            parts.append((symbols, cell.style))
            symbols = ""

    return parts


def _legend(statuses: Sequence[RankStatus], per_cell: int) -> Row:
    counts = Counter(
        (status.priority, status.symbol, status.word or "runs", status.style) for status in statuses
    )
    scale = (
        f" 1 cell = {per_cell} ranks (worst shown)" if per_cell > 1 else f" {len(statuses)} ranks"
    )
    parts: list[Part] = [(f"{scale}  ", "dim")]

    for (_, symbol, word, style), count in sorted(counts.items()):
        parts += [(f" {symbol} ", style), (f"{count} {word}", "")]

    return row("", *parts)
