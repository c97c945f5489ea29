"""Who waits in which collective and who has not reached it: by flight recorder, else by stack."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.detection import STALLED_S
from dsray_inspect.agent.detectors.evidence.blocked_in import quiet_s
from dsray_inspect.agent.model import Collective, GroupKey

PROMPT_S = 4.0
"""However quick the rhythm, no shorter wait is a stall."""
USUAL_GAPS = 10
"""A wait is a stall once it lasts this many times the rank's longest recent gap between collectives."""
LONG_GAPS = 3
"""The factor where that gap is long itself."""


class Wait(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A rank in a collective. `collective` is None where only its stack shows that."""

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


def waits(sample: AnalysisInput) -> list[Wait]:
    """Return every rank that is in a collective."""
    return list(sample.view(_find_waits))


def _find_waits(sample: AnalysisInput) -> list[Wait]:
    seen = [wait for member in sample.members if (wait := _wait_of(member))]
    return [*seen, *_ahead_of(sample.members, seen)]


def _ahead_of(members: Sequence[RankContext], seen: Sequence[Wait]) -> list[Wait]:
    """Return the ranks whose stacks show no collective and whose newest one lacks other ranks.

    `work.wait()` and `loss.item()` wait in C: their innermost frame is the user's line.
    """
    known = {id(wait.member) for wait in seen}
    begun = [
        (member, entered)
        for member in members
        if id(member) not in known
        and member.worker.state == "alive"
        and (entered := member.worker.waiting_in) is not None
    ]
    behind = _least_newest(members) if begun else {}
    return [
        Wait(member=member, waited_s=entered.age_s, collective=entered)
        for member, entered in begun
        if behind[entered.group_key] < entered.sequence
    ]


def _least_newest(members: Sequence[RankContext]) -> dict[GroupKey, int]:
    """Return by group the number of the newest collective of the rank that is furthest behind."""
    least: dict[GroupKey, int] = {}

    for member in members:
        newest: dict[GroupKey, int] = {}

        for entered in member.worker.collectives:
            group = entered.group_key
            newest[group] = max(newest.get(group, entered.sequence), entered.sequence)

        for group, sequence in newest.items():
            least[group] = min(least.get(group, sequence), sequence)

    return least


def _wait_of(member: RankContext) -> Wait | None:
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
    same = [entered for entered in member.worker.collectives if entered.group == group]
    return max(same, key=lambda entered: entered.sequence, default=None)


def gives_up_in_s(waiting: Sequence[Wait]) -> float | None:
    """Return after how long the first of the groups gives up, None where it is not known."""
    left = [
        wait.collective.timeout_s - wait.waited_s
        for wait in waiting
        if wait.collective is not None and wait.collective.timeout_s is not None
    ]
    return min(left, default=None)


def is_quiet(member: RankContext) -> bool:
    """Tell whether a rank has entered no collective for longer than its rhythm explains."""
    seconds = quiet_s(member)
    return seconds is not None and seconds >= stall_s(member.worker.longest_gap_s)


def longest_s(waiting: Sequence[Wait], reporting: Sequence[RankContext]) -> float:
    """Return the longest wait."""
    waits_s = (wait.waited_s for wait in waiting)
    return max((*waits_s, *(quiet_s(member) or 0.0 for member in reporting)))
