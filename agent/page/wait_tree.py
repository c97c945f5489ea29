"""The wait-for graph with equal ranks as one, placed in columns: who waits on the left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from dsray_inspect.agent.model import WaitGraph
from dsray_inspect.agent.text.humanize import name_ranks

_MOST_COLUMNS: Final = 12
_RANK: Final = "rank "


class WaitBox(NamedTuple):
    """What waits or is waited for: one node of the graph, or ranks that wait alike."""

    label: str
    is_root: bool
    column: int
    row: int


class WaitLine(NamedTuple):
    """`waiter` and `awaited` are places in the list of boxes."""

    waiter: int
    awaited: int
    because: str


class WaitDrawing(NamedTuple):
    boxes: tuple[WaitBox, ...]
    lines: tuple[WaitLine, ...]


def drawing_of(graph: WaitGraph) -> WaitDrawing:
    """Return where everything is drawn."""
    names = _merged(graph)
    numbers = {members: n for n, members in enumerate(dict.fromkeys(names.values()))}
    lines = {
        (numbers[names[edge.waiter]], numbers[names[edge.awaited]]): edge.because
        for edge in graph.edges
    }
    columns = _columns(len(numbers), lines)
    rows: dict[int, int] = {}
    roots = {names[root] for root in graph.roots if root in names}
    boxes = []

    for members, number in numbers.items():
        column = columns[number]
        rows[column] = rows.get(column, -1) + 1
        boxes.append(WaitBox(_label(members), members in roots, column, rows[column]))

    return WaitDrawing(
        tuple(boxes), tuple(WaitLine(*ends, because) for ends, because in lines.items())
    )


def _merged(graph: WaitGraph) -> Mapping[str, tuple[str, ...]]:
    """Return for each name the names that are drawn with it: ranks that wait for the same."""
    awaits: dict[str, set[str]] = {}
    awaited_by: dict[str, set[str]] = {}

    for edge in graph.edges:
        awaits.setdefault(edge.waiter, set()).add(edge.awaited)
        awaited_by.setdefault(edge.awaited, set()).add(edge.waiter)

    alike: dict[object, list[str]] = {}

    for name in dict.fromkeys(one for edge in graph.edges for one in (edge.waiter, edge.awaited)):
        ends = (frozenset(awaits.get(name, ())), frozenset(awaited_by.get(name, ())))
        alike.setdefault(ends if name.startswith(_RANK) else name, []).append(name)

    return {name: tuple(members) for members in alike.values() for name in members}


def _columns(number: int, lines: Iterable[tuple[int, int]]) -> list[int]:
    """Return the column of each box, right of all that wait for it; a circle ends somewhere."""
    columns = [0] * number
    ends = list(lines)

    for _ in range(_MOST_COLUMNS - 1):
        moved = False

        for waiter, awaited in ends:
            if waiter != awaited and columns[awaited] <= columns[waiter] < _MOST_COLUMNS - 1:
                columns[awaited] = columns[waiter] + 1
                moved = True

        if not moved:
            break

    used = sorted(set(columns))
    return [used.index(column) for column in columns]


def _label(members: tuple[str, ...]) -> str:
    if len(members) == 1:
        return members[0]

    ranks = [name.removeprefix(_RANK) for name in members]
    return name_ranks([int(rank) for rank in ranks if rank.isdecimal()])
