"""Who waits in which collective, and who has not come to it: by flight recorder, else by stack."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.findings import STALLED_S
from dsray_inspect.agent.model import Collective, GroupKey

PROMPT_S = 4.0
"""However quick the rhythm, no shorter wait is a stall."""
USUAL_GAPS = 10
"""A wait is a stall when it lasts as many of a rank's longest usual gaps."""
LONG_GAPS = 3
"""Gaps that are long themselves need fewer."""


class Wait(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A rank in a collective. `collective` is None where only its stack tells."""

    member: RankContext
    waited_s: float
    collective: Collective | None

    @property
    def is_stall(self) -> bool:
        """Whether it lasts longer than this rank's own rhythm explains."""
        known = self.collective is not None
        return self.waited_s >= stall_s(self.member.worker.longest_gap_s if known else None)


def stall_s(gap_s: float | None) -> float:
    """Return how long a rank must be without progress to be stalled, by its own rhythm."""
    if gap_s is None:
        return STALLED_S

    return min(max(gap_s * USUAL_GAPS, PROMPT_S), max(gap_s * LONG_GAPS, STALLED_S))


def waits(facts: AnalysisInput) -> list[Wait]:
    """Return every rank that is in a collective."""
    return list(facts.view(_find_waits))


def _find_waits(facts: AnalysisInput) -> list[Wait]:
    seen = [wait for member in facts.members if (wait := wait_of(member))]
    return [*seen, *ahead_of(facts.members, seen)]


def ahead_of(members: Sequence[RankContext], seen: Sequence[Wait]) -> list[Wait]:
    """Return the ranks whose stacks show no collective and whose newest one lacks other ranks.

    `work.wait()` and `loss.item()` wait in C: their innermost frame is the user's line.
    """
    known = {id(wait.member) for wait in seen}
    begun = [
        (member, one)
        for member in members
        if id(member) not in known
        and member.worker.state == "alive"
        and (one := member.worker.waiting_in) is not None
    ]
    behind = least_newest(members) if begun else {}
    return [
        Wait(member=member, waited_s=one.age_s, collective=one)
        for member, one in begun
        if behind[one.group_key] < one.sequence
    ]


def least_newest(members: Sequence[RankContext]) -> dict[GroupKey, int]:
    """Return by group the number of the newest collective of the rank that is furthest behind."""
    least: dict[GroupKey, int] = {}

    for member in members:
        newest: dict[GroupKey, int] = {}

        for one in member.worker.collectives:
            group = one.group_key
            newest[group] = max(newest.get(group, one.sequence), one.sequence)

        for group, sequence in newest.items():
            least[group] = min(least.get(group, sequence), sequence)

    return least


def wait_of(member: RankContext) -> Wait | None:
    training = member.training

    if training is None or not training.stack.in_collective:
        return None

    collective = member.worker.waiting_in
    return Wait(
        member=member,
        # The recorder's clock is not set back by whoever stops the process.
        waited_s=collective.age_s if collective else member.worker.idle_s or 0.0,
        collective=collective,
    )


def last_of(member: RankContext, group: str) -> Collective | None:
    """Return the newest collective of a group that a rank has entered."""
    same = [one for one in member.worker.collectives if one.group == group]
    return max(same, key=lambda one: one.sequence, default=None)


def name_of(collective: Collective) -> str:
    """Return "all_reduce #69 (16,640 float, group 1)"."""
    sizes = " × ".join(f"{size:,}" for size in (collective.sizes or ((),))[0])
    what = f"{sizes or 'scalar'} {collective.dtype}, " if collective.dtype != "unknown" else ""
    return f"{collective.operation} #{collective.sequence} ({what}group {collective.group})"


def gives_up_in_s(waiting: Sequence[Wait]) -> float | None:
    """Return after how long the first of the groups gives up, None where it is not known."""
    left = [
        wait.collective.timeout_s - wait.waited_s
        for wait in waiting
        if wait.collective is not None and wait.collective.timeout_s is not None
    ]
    return min(left, default=None)
