"""All ranks of a large job at once: a cell for a rank, or for a few, the worst of them shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.tui.rank_status import RankStatus
from dsray_inspect.tui.rows import Part, Row, blank, row

MOST_LINES = 8
LABEL = 8


def grid(snapshot: Snapshot, by_actor: Mapping[str, RankStatus], width: int) -> list[Row]:
    """Return the grid with its legend; a cell stands for so many ranks that it fits."""
    known = sorted(
        (one for one in snapshot.workers if one.rank is not None), key=lambda one: one.rank or 0
    )
    stands = [by_actor[one.actor_id] for one in known]
    across = cells_across(width)
    each = max(1, -(-len(stands) // (across * MOST_LINES)))
    cells = [worst(stands[at : at + each]) for at in range(0, len(stands), each)]
    rows = [
        Row("", partial(line_of, start * each, cells[start : start + across]))
        for start in range(0, len(cells), across)
    ]
    return [*rows, legend(stands, each), blank()]


def cells_across(width: int) -> int:
    """Return the cells of a line: a multiple of eight, as nodes have as many GPUs."""
    return max(8, (width - LABEL - 3) // 8 * 8)


def worst(stands: Sequence[RankStatus]) -> RankStatus:
    return min(stands, key=lambda one: one.trouble)


def line_of(first: int, cells: Sequence[RankStatus], _width: int) -> list[Part]:
    """Return a line, cells that look alike in one part."""
    parts: list[Part] = [(f" {first:>{LABEL - 1}} ", "dim")]
    run = ""

    for number, cell in enumerate(cells):
        run += cell.symbol

        if number + 1 == len(cells) or cells[number + 1].look != cell.look:
            parts.append((run, cell.look))
            run = ""

    return parts


def legend(stands: Sequence[RankStatus], each: int) -> Row:
    counts = Counter((one.trouble, one.symbol, one.word or "runs", one.look) for one in stands)
    scale = f" 1 cell = {each} ranks, the worst of them" if each > 1 else f" {len(stands)} ranks"
    parts: list[Part] = [(f"{scale}  ", "dim")]

    for (_, symbol, word, look), count in sorted(counts.items()):
        parts += [(f" {symbol} ", look), (f"{count} {word}", "")]

    return row("", *parts)
