"""Assigns the spans of a track to lanes: within a lane spans nest, they never cross."""

from __future__ import annotations

from collections.abc import Sequence

Extent = tuple[int, int]
"""Start and end of one span."""


def assign_lanes(extents: Sequence[Extent]) -> list[int]:
    """Return a lane number for each span, given in order of start, longest first.

    A span goes to the first lane where it lies entirely inside or entirely after the spans open
    there, so collectives that overlap get lanes of their own.
    """
    open_ends: list[list[int]] = []
    """The ends of the spans open in each lane, the innermost last."""
    chosen = []

    for start, end in extents:
        lane = next(
            (number for number, ends in enumerate(open_ends) if _fits(ends, start, end)), None
        )

        if lane is None:
            lane = len(open_ends)
            open_ends.append([])

        open_ends[lane].append(end)
        chosen.append(lane)

    return chosen


def _fits(ends: list[int], start: int, end: int) -> bool:
    """Close the spans that end before `start`; return whether the new one nests in the rest."""
    while ends and ends[-1] <= start:
        ends.pop()

    return not ends or end <= ends[-1]
