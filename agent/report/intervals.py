"""For how much time each sample stands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def intervals(times: Sequence[float]) -> list[tuple[float, float]]:
    """Return from when until when each sample stands: half the way to those beside it.

    A clock that was set back gives empty intervals, not negative ones.
    """
    rising: list[float] = []

    for at in times:
        rising.append(max(at, rising[-1]) if rising else at)

    middles = [(first + second) / 2 for first, second in itertools.pairwise(rising)]
    return list(zip([rising[0], *middles], [*middles, rising[-1]], strict=True))
