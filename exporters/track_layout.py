"""Which row of a process each span is drawn in: in one row spans nest, they never cross."""

from __future__ import annotations

from collections.abc import Sequence

Stretch = tuple[int, int]
"""Start and end of one span."""


def lanes(stretches: Sequence[Stretch]) -> list[int]:
    """Return a lane for each stretch, given in the order of their starts, longest first.

    A stretch goes into the first lane where it lies wholly inside or wholly after what is
    open there: collectives that overlap get lanes of their own.
    """
    open_ends: list[list[int]] = []
    """Per lane, the ends of what is still open, the innermost last."""
    chosen = []

    for start, end in stretches:
        lane = next(
            (number for number, ends in enumerate(open_ends) if takes(ends, start, end)), None
        )

        if lane is None:
            lane = len(open_ends)
            open_ends.append([])

        open_ends[lane].append(end)
        chosen.append(lane)

    return chosen


def takes(ends: list[int], start: int, end: int) -> bool:
    """Close what has ended before `start`, and return whether the stretch fits into the rest."""
    while ends and ends[-1] <= start:
        ends.pop()

    return not ends or end <= ends[-1]
