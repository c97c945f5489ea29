"""What a run loses to the rank that comes last: the one account of it, for every command.

A collective is a meeting: whoever comes last keeps the others waiting, from the moment at which the
one before it came. `attach`, `why` and `serve` count over the newest meetings, `trace` over steps.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

WORTH_TELLING_SHARE = 0.1
"""Of the time: less is not worth a line."""
BLAMED_SHARE = 0.25
"""Of the time: a rank that costs the run so much is to blame."""
TIMES_THE_NEXT = 3.0
"""A rank is late only if it costs this many times as much as the next worst: else all take turns."""
LEAST_LOST_S = 0.02
"""A meeting; less is noise."""


class Meeting(NamedTuple):
    """One collective: when its first and its last rank came, and which rank was last."""

    first_ns: int
    last_ns: int
    last: int
    """The place of the last among the members."""
    late_s: float
    """How long the one before it waited for the last."""


def meeting(arrived: Sequence[int]) -> Meeting:
    """Return the meeting to which its members, two or more, came at these times (ns)."""
    last, before = heapq.nlargest(2, range(len(arrived)), key=arrived.__getitem__)
    return Meeting(min(arrived), arrived[last], last, (arrived[last] - arrived[before]) / 1e9)


def is_late(lost: float, next_worst: float, observed: float, *, share: float) -> bool:
    """Tell whether one rank alone costs the run this share of the observed time."""
    return lost > 0 and lost >= share * observed and lost >= TIMES_THE_NEXT * next_worst


@dataclass(frozen=True)
class Loss:
    """What the run lost to its ranks over some meetings."""

    observed_s: float
    events: Sequence[int]
    """How often all others waited for a rank, by its place among the members."""
    lost_s: Sequence[float]

    @property
    def order(self) -> list[int]:
        """The places of the members, the one that cost most first."""
        return sorted(range(len(self.lost_s)), key=lambda place: -self.lost_s[place])

    def is_by(self, place: int) -> bool:
        """Whether the run goes at the pace of this member."""
        next_worst = max(lost for other, lost in enumerate(self.lost_s) if other != place)
        return is_late(self.lost_s[place], next_worst, self.observed_s, share=BLAMED_SHARE)


def loss_over(met: Sequence[Meeting], members: int) -> Loss:
    """Return what the run lost to each member, where that is not noise."""
    late: list[list[float]] = [[] for _ in range(members)]

    for collective in met:
        if collective.late_s >= LEAST_LOST_S:
            late[collective.last].append(collective.late_s)

    return Loss(
        observed_s=(met[-1].last_ns - met[0].first_ns) / 1e9,
        events=[len(by_rank) for by_rank in late],
        # By the median: one long pause does not make a straggler.
        lost_s=[statistics.median(by_rank) * len(by_rank) if by_rank else 0.0 for by_rank in late],
    )
