"""How fast the run goes, look by look; and small charts of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dsray_inspect.agent.model import Snapshot

BARS = "▁▂▃▄▅▆▇█"


MOST_ASKED = 512


def top_step(snapshot: Snapshot) -> int | None:
    """Return the highest step; of very many ranks some are asked, as they are within one of it."""
    some = snapshot.workers[:: len(snapshot.workers) // MOST_ASKED + 1]
    return max((one.step for one in some if one.step is not None), default=None)


def paces(past: Sequence[Snapshot]) -> list[float | None]:
    """Return the steps a second between each look and the next; None where it is not known."""
    found: list[float | None] = []

    for before, after in pairwise(past):
        first, last = top_step(before), top_step(after)
        took_s = after.taken_at - before.taken_at
        known = first is not None and last is not None and last >= first and took_s > 0
        found.append((last - first) / took_s if known else None)  # type: ignore[operator]

    return found


def step_s(past: Sequence[Snapshot]) -> float | None:
    """Return the seconds a step took in these looks, None when none was made."""
    known = [one for one in past if top_step(one) is not None]

    if len(known) < 2:
        return None

    made = (top_step(known[-1]) or 0) - (top_step(known[0]) or 0)
    return (known[-1].taken_at - known[0].taken_at) / made if made > 0 else None


def chart(numbers: Sequence[float | None], width: int, *, top: float | None = None) -> str:
    """Return numbers as bars, the newest at the right; a gap where a number is not known."""
    shown = list(numbers)[-width:] if width > 0 else []
    most = top if top is not None else max((one for one in shown if one is not None), default=0)
    return "".join(bar(one, most) for one in shown)


def bar(number: float | None, most: float) -> str:
    if number is None:
        return "·"

    return BARS[min(7, round(number / most * 7))] if most > 0 else BARS[0]
