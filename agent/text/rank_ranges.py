"""Rank numbers in few words."""

from __future__ import annotations

from collections.abc import Sequence


def some_ranks(ranks: Sequence[int | None]) -> str:
    """Return "rank 1", "ranks 0-3, 7", or "2 workers" where a rank is not known."""
    known = sorted(rank for rank in ranks if rank is not None)

    if len(known) < len(ranks):
        return "a worker" if len(ranks) == 1 else f"{len(ranks)} workers"

    return f"rank{'s' if len(known) > 1 else ''} {compact(known)}"


def compact(ranks: Sequence[int]) -> str:
    """Return "0-3, 7" for 0, 1, 2, 3, 7."""
    parts: list[str] = []
    start = previous = None

    for rank in [*ranks, None]:
        if start is not None and (rank is None or previous is None or rank != previous + 1):
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = rank
        elif start is None:
            start = rank

        previous = rank

    return ", ".join(parts)
