"""The speed of the run from snapshot to snapshot, and small charts of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from dsray_inspect.agent.model import Snapshot

_BARS: Final = "▁▂▃▄▅▆▇█"
_MAX_READ: Final = 512
"""Ranks read to find the highest step: all ranks are within one step of it."""


def top_step(snapshot: Snapshot) -> int | None:
    """Return the highest step, or None when no step is known."""
    workers = snapshot.workers[:: len(snapshot.workers) // _MAX_READ + 1]
    return max((worker.step for worker in workers if worker.step is not None), default=None)


def step_rates(past: Sequence[Snapshot]) -> list[float | None]:
    """Return the steps per second between adjacent snapshots; None where unknown."""
    rates: list[float | None] = []

    for before, after in pairwise(past):
        first, last = top_step(before), top_step(after)
        took_s = after.taken_at - before.taken_at

        if first is None or last is None or last < first or took_s <= 0:
            rates.append(None)
        else:
            rates.append((last - first) / took_s)

    return rates


def step_s(past: Sequence[Snapshot]) -> float | None:
    """Return the mean seconds per step, or None when no step was made."""
    known = [snapshot for snapshot in past if top_step(snapshot) is not None]

    if len(known) < 2:
        return None

    made = (top_step(known[-1]) or 0) - (top_step(known[0]) or 0)
    return (known[-1].taken_at - known[0].taken_at) / made if made > 0 else None


def chart(numbers: Sequence[float | None], width: int) -> str:
    """Return numbers as bars, the newest at the right; a dot where a number is unknown."""
    shown = list(numbers)[-width:] if width > 0 else []
    top = max((number for number in shown if number is not None), default=0)
    return "".join(_bar(number, top) for number in shown)


def _bar(number: float | None, top: float) -> str:
    if number is None:
        return "·"

    return _BARS[min(7, round(number / top * 7))] if top > 0 else _BARS[0]
