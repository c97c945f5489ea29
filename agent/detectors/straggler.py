"""A rank that reaches collective after collective later than its peers: the run goes at its pace."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.evidence.activity import Activity, activity_of
from dsray_inspect.agent.detectors.registry import detector

Arrivals = Sequence[int]
"""When each member reached one collective, Unix ns."""
STEADY_S = 5.0
"""It must be late for this long, in the first half and in the second: less may be chance."""
LEAST_EVENTS = 5
LEAST_SHARE = 0.25
"""Of the time observed that the run must lose to one rank."""
LEAST_LOST_S = 0.02
"""A collective; less is noise."""
TIMES_THE_NEXT = 3.0
LEAST_COLLECTIVES = 12
"""At least this many of a group are considered, however far back that goes."""


class Meeting(NamedTuple):
    """One collective: when its first and its last rank reached it, and which rank was last."""

    first_ns: int
    last_ns: int
    last: int
    """The place of the last among the members."""
    late_s: float
    """How long the one before it waited for the last."""


@dataclass(frozen=True)
class Loss:
    """What the run lost to its ranks over some collectives."""

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
        return (
            self.lost_s[place] >= LEAST_SHARE * self.observed_s
            and self.lost_s[place] >= TIMES_THE_NEXT * next_worst
        )


class Lateness(Facts, frozen=True, kw_only=True):
    """What the others lost to one rank, over the latest collectives of a group."""

    group: str
    late_s: float
    """How much later it comes to a collective, on average."""
    events: int
    """At how many collectives it was the last, and the others waited."""
    collectives: int
    lost_s: float
    observed_s: float
    next_worst_s: float
    """What was lost to the next slowest rank."""
    activity: Activity | None


@detector(causes=("straggler",), after=("overflow_skips",))
def straggler(sample: AnalysisInput) -> list[Detection]:
    """Blame a rank by the time that the others lost to it."""
    members = [
        member for member in sample.members if member.worker.rank is not None and member.arrivals
    ]

    if len(members) < max(2, len(sample.members)):
        return []

    for group in _groups_of(members):
        found = _of_group(sample, members, group)

        if found is not None:
            return [found]

    return []


def _groups_of(members: Sequence[RankContext]) -> list[str]:
    """Return the groups that all ranks are in, the busiest first."""
    common = set.intersection(*(set(member.arrivals) for member in members))
    return sorted(common, key=lambda group: -len(members[0].arrivals[group]))


def _of_group(
    sample: AnalysisInput, members: Sequence[RankContext], group: str
) -> Detection | None:
    met = _steady([_meeting(arrived) for arrived in _aligned(members, group)])

    if met is None:
        return None

    middle = len(met) // 2
    loss, *halves = (
        _loss_over(part, len(members)) for part in (met, met[: middle + 1], met[middle:])
    )
    worst, next_worst = loss.order[:2]

    if loss.events[worst] < LEAST_EVENTS or not all(part.is_by(worst) for part in (loss, *halves)):
        return None

    return Detection(
        cause="straggler",
        severity="warning",
        ranks=rank_numbers([members[worst].worker]),
        facts=Lateness(
            group=group,
            late_s=loss.lost_s[worst] / loss.events[worst],
            events=loss.events[worst],
            collectives=len(met),
            lost_s=loss.lost_s[worst],
            observed_s=loss.observed_s,
            next_worst_s=loss.lost_s[next_worst],
            activity=activity_of(sample, members[worst]),
        ),
    )


def _steady(met: Sequence[Meeting]) -> Sequence[Meeting] | None:
    """Return the newest collectives that can show a steady loss, None where there are too few."""
    for place in range(len(met) - LEAST_COLLECTIVES, -1, -1):
        if met[-1].last_ns - met[place].first_ns >= STEADY_S * 1e9:
            return met[place:]

    return None


def _aligned(members: Sequence[RankContext], group: str) -> list[Arrivals]:
    """Return when each member reached each collective that all have reported, oldest first.

    Clocks of other hosts are set by the median: within a step all ranks go on from one
    collective to the next at the same time.
    """
    by_member = [dict(member.arrivals[group]) for member in members]
    common = sorted(set.intersection(*map(set, by_member)))
    first_node = members[0].worker.node_id
    offsets = [
        0 if member.worker.node_id == first_node else _offset(by_member[0], own, common)
        for member, own in zip(members, by_member, strict=True)
    ]
    return [
        [own[sequence] - by for own, by in zip(by_member, offsets, strict=True)]
        for sequence in common
    ]


def _offset(reference: Mapping[int, int], own: Mapping[int, int], common: Sequence[int]) -> int:
    apart = sorted(own[sequence] - reference[sequence] for sequence in common)
    return apart[len(apart) // 2] if apart else 0


def _meeting(arrived: Arrivals) -> Meeting:
    last, before = heapq.nlargest(2, range(len(arrived)), key=arrived.__getitem__)
    late_s = (arrived[last] - arrived[before]) / 1e9
    return Meeting(min(arrived), arrived[last], last, late_s)


def _loss_over(met: Sequence[Meeting], members: int) -> Loss:
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
