"""Where a rank has left the order of collectives that its peers keep: how far behind, and since when."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise

from dsray_inspect.agent.assemble.advances import Arrival
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.detection import rank_numbers
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, last_of
from dsray_inspect.agent.detectors.evidence.progress import advance_of
from dsray_inspect.agent.model import Record

PAUSE_NS = 20_000_000
"""A rank that has not entered a collective for so long has begun another step."""
SLIP_SHARE = 0.4
"""A rank that left out a part of a step comes to the next collective later, by this share of a step."""


class Behind(Record, frozen=True, kw_only=True):
    """A rank that has entered fewer collectives of a group than its peers, who wait in one of it."""

    rank: int | None
    group: str
    last_sequence: int
    peers: tuple[int, ...]
    awaited_sequence: int
    step: int | None
    """The rank's own step now."""
    since_step: int | None
    """Its step at the one collective to which it came late by a part of a step."""


def behind(
    sample: AnalysisInput, culprits: Sequence[Wait], waiting: Sequence[Wait]
) -> list[Behind]:
    """Return which of the culprits are behind the others, and since when where that shows."""
    own = {id(wait.member) for wait in culprits}
    others = [wait for wait in waiting if id(wait.member) not in own]
    found = (_behind(sample, wait.member, others) for wait in culprits)
    return [late for late in found if late is not None]


def behind_each_other(sample: AnalysisInput, waiting: Sequence[Wait]) -> list[Behind]:
    """Return every rank that is behind one of the others."""
    return [late for wait in waiting for late in behind(sample, [wait], waiting)]


def _behind(sample: AnalysisInput, member: RankContext, others: Sequence[Wait]) -> Behind | None:
    for wait in others:
        awaited = wait.collective
        last = last_of(member, awaited.group) if awaited is not None else None

        if awaited is None or last is None or last.sequence >= awaited.sequence:
            continue

        peers = [
            other.member
            for other in others
            if other.collective is not None
            and (other.collective.group, other.collective.sequence)
            == (awaited.group, awaited.sequence)
        ]
        return Behind(
            rank=member.worker.rank,
            group=awaited.group,
            last_sequence=last.sequence,
            peers=rank_numbers(peer.worker for peer in peers),
            awaited_sequence=awaited.sequence,
            step=member.worker.step,
            since_step=since_step(sample, member, peers, group=awaited.group),
        )

    return None


def since_step(
    sample: AnalysisInput, member: RankContext, peers: Sequence[RankContext], *, group: str
) -> int | None:
    """Return the step at which a rank left out a part of one, None where no single one shows."""
    if member.worker.step is None or not peers:
        return None

    own = dict(advance_of(sample, member).arrivals.get(group, ()))
    theirs = [dict(advance_of(sample, peer).arrivals.get(group, ())) for peer in peers]
    slipped = slips(own, theirs)
    starts = _step_starts(sorted(own.items()))

    if len(slipped) != 1 or slipped[0] not in starts:
        return None

    return member.worker.step - (len(starts) - starts.index(slipped[0]))


def slips(own: Mapping[int, int], theirs: Sequence[Mapping[int, int]]) -> list[int]:
    """Return the collectives to which a rank came after all its peers by a part of a step."""
    starts = _step_starts(sorted(own.items()))
    steps_ns = [own[after] - own[before] for before, after in pairwise(starts)]

    if not steps_ns:
        return []

    least_ns = SLIP_SHARE * statistics.median(steps_ns)
    return [
        sequence
        for sequence, at_ns in sorted(own.items())
        if all(sequence in peer for peer in theirs)
        and at_ns - max(peer[sequence] for peer in theirs) >= least_ns
    ]


def _step_starts(arrivals: Sequence[Arrival]) -> list[int]:
    """Return the first collective of each step."""
    return [
        after
        for (_, before_ns), (after, after_ns) in pairwise(arrivals)
        if after_ns - before_ns >= PAUSE_NS
    ]
