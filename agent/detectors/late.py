"""A rank that comes later than its peers to collective after collective: the run goes at its pace."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.detectors.findings import duration, next_command, ranks
from dsray_inspect.agent.detectors.motion import motion_of
from dsray_inspect.agent.model import Finding

LEAST_EVENTS = 5
LEAST_SHARE = 0.25
"""Of the time observed that the run must lose to one rank."""
LEAST_LOST_S = 0.02
"""A collective; less is noise."""
TIMES_THE_NEXT = 3.0
FRESH = 24
"""The newest collectives of a group that are looked at."""


def straggler(facts: Facts) -> list[Finding]:
    """Blame a rank by the time that the others lost to it."""
    members = [one for one in facts.members if one.worker.rank is not None and one.arrivals]

    if len(members) < max(2, len(facts.members)):
        return []

    found = [one for group in groups_of(members) if (one := of_group(facts, members, group))]
    return found[:1]


def groups_of(members: Sequence[Member]) -> list[str]:
    """Return the groups that all ranks are in, the busiest first."""
    common = set.intersection(*(set(one.arrivals) for one in members))
    return sorted(common, key=lambda group: -len(members[0].arrivals[group]))


def of_group(facts: Facts, members: Sequence[Member], group: str) -> Finding | None:
    times = aligned(members, group)

    if len(times) < LEAST_EVENTS:
        return None

    first, last = times[min(times)], times[max(times)]
    observed_s = (max(last) - min(first)) / 1e9
    late = margins(times, len(members))
    # By the median: one long pause does not make a straggler.
    lost = [statistics.median(one) * len(one) if one else 0.0 for one in late]
    events = [len(one) for one in late]
    order = sorted(range(len(members)), key=lambda place: -lost[place])
    worst, next_worst = order[0], order[1]
    share = lost[worst] / observed_s if observed_s > 0 else 0.0

    if (
        share < LEAST_SHARE
        or events[worst] < LEAST_EVENTS
        or lost[worst] < TIMES_THE_NEXT * lost[next_worst]
    ):
        return None

    worker, motion = members[worst].worker, motion_of(facts, members[worst])
    each_s = lost[worst] / events[worst]
    return Finding(
        cause="straggler",
        severity="warning",
        ranks=ranks([worker]),
        summary=(
            f"Rank {worker.rank} comes {duration(each_s)} later than the others, again and again: "
            f"{100 * share:.0f} % of the time is lost to it."
        ),
        evidence=(
            f"flight recorder, group {group}: last at {events[worst]} of {len(times)} collectives",
            (
                f"the others waited {duration(lost[worst])} of {duration(observed_s)} for it, "
                f"{duration(lost[next_worst])} for the next slowest"
            ),
            *([f"rank {worker.rank}: {motion.text()}"] if motion else []),
        ),
        next_step=next_command(facts, "stacks", ranks([worker])),
    )


def aligned(members: Sequence[Member], group: str) -> dict[int, list[int]]:
    """Return when each member came to each collective that all have come to, by sequence.

    Clocks of other hosts are set by the median: within a step all ranks go on from one
    collective to the next at the same time.
    """
    by_member = [dict(map(tuple, one.arrivals[group])) for one in members]
    common = sorted(set.intersection(*map(set, by_member)))[-FRESH:]
    offsets = [
        0 if one.worker.node_id == members[0].worker.node_id else offset(by_member[0], own, common)
        for one, own in zip(members, by_member, strict=True)
    ]
    return {
        sequence: [own[sequence] - by for own, by in zip(by_member, offsets, strict=True)]
        for sequence in common
    }


def offset(reference: Mapping[int, int], own: Mapping[int, int], common: Sequence[int]) -> int:
    apart = sorted(own[sequence] - reference[sequence] for sequence in common)
    return apart[len(apart) // 2] if apart else 0


def margins(times: Mapping[int, Sequence[int]], count: int) -> list[list[float]]:
    """Return for each member how long the next latest waited for it, where that is not noise."""
    found: list[list[float]] = [[] for _ in range(count)]

    for arrived in times.values():
        place, seconds = margin(arrived)

        if seconds >= LEAST_LOST_S:
            found[place].append(seconds)

    return found


def margin(arrived: Sequence[int]) -> tuple[int, float]:
    """Return who came last and how long after the one before it."""
    order = sorted(range(len(arrived)), key=lambda place: arrived[place])
    return order[-1], (arrived[order[-1]] - arrived[order[-2]]) / 1e9
