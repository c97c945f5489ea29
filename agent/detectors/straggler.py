"""A rank that reaches collective after collective later than its peers: the run goes at its pace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsray_inspect.agent.assemble.advances import Arrival
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.evidence.activity import Activity, activity_of
from dsray_inspect.agent.detectors.evidence.progress import advance_of
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.lateness import Meeting, loss_over, meeting

Arrivals = Sequence[int]
"""When each member reached one collective, Unix ns."""
STEADY_S = 5.0
"""It must be late for this long, in the first half and in the second: less may be chance."""
LEAST_EVENTS = 5
LEAST_COLLECTIVES = 12
"""At least this many of a group are considered, however far back that goes."""


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
        member
        for member in sample.members
        if member.worker.rank is not None and advance_of(sample, member).arrivals
    ]

    if len(members) < max(2, len(sample.members)):
        return []

    arrivals = [advance_of(sample, member).arrivals for member in members]

    for group in _groups_of(arrivals):
        found = _of_group(sample, members, group)

        if found is not None:
            return [found]

    return []


def _groups_of(arrivals: Sequence[Mapping[str, Sequence[Arrival]]]) -> list[str]:
    """Return the groups that all ranks are in, the busiest first."""
    common = set.intersection(*(set(by_group) for by_group in arrivals))
    return sorted(common, key=lambda group: -len(arrivals[0][group]))


def _of_group(
    sample: AnalysisInput, members: Sequence[RankContext], group: str
) -> Detection | None:
    met = _steady([meeting(arrived) for arrived in _aligned(sample, members, group)])

    if met is None:
        return None

    middle = len(met) // 2
    loss, *halves = (
        loss_over(part, len(members)) for part in (met, met[: middle + 1], met[middle:])
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


def _aligned(sample: AnalysisInput, members: Sequence[RankContext], group: str) -> list[Arrivals]:
    """Return when each member reached each collective that all have reported, oldest first.

    Clocks of other hosts are set by the median: within a step all ranks go on from one
    collective to the next at the same time.
    """
    by_member = [dict(advance_of(sample, member).arrivals[group]) for member in members]
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
