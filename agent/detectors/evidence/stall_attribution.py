"""Ranks that their peers wait for: whether each is idle, and which of them are blocked alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.causes import StallSpec, spec_of
from dsray_inspect.agent.detectors.detection import STALLED_S, Where
from dsray_inspect.agent.detectors.evidence.activity import Activity, activity_of, before_of
from dsray_inspect.agent.detectors.evidence.blocked_in import cause_of, where
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, gives_up_in_s, last_of
from dsray_inspect.agent.detectors.evidence.gil import HELD_S, gil_holder_of
from dsray_inspect.agent.detectors.evidence.object_producers import Producer
from dsray_inspect.agent.detectors.evidence.progress import advance_of
from dsray_inspect.agent.model import Cause, Collective, Record

AS_LONG = 0.8
"""A rank that has been idle for nearly as long as its peers wait is why they wait."""

Barrier = Literal["collective", "report", "init_process_group"]


class Victims(Record, frozen=True, kw_only=True):
    """The ranks that wait for the late ones, and in what."""

    ranks: tuple[int, ...]
    waited_s: float
    waiting_in: Barrier
    collective: Collective | None = None
    """What the one that has waited longest is in, as its flight recorder has it."""
    is_recorded: bool = False
    """Whether any of them has a flight recorder that shows its wait."""
    gives_up_s: float | None = None
    """After how long the first of their groups gives up."""


class StallCandidate(NamedTuple):
    """A rank that its peers wait for."""

    member: RankContext
    cause: Cause
    activity: Activity | None
    is_still: bool
    producer: Producer | None
    """The busy actor that produces what it waits for."""
    stalled_s: float

    @property
    def kind(self) -> tuple[Cause, bool, Where]:
        """What ranks that are reported together share."""
        return self.cause, self.is_still, where(self.member)


def victims_of(numbers: tuple[int, ...], waiting: Sequence[Wait], waited_s: float) -> Victims:
    """Return ranks that wait in collectives, or, where nobody does, in a report."""
    longest = max(waiting, key=lambda wait: wait.waited_s, default=None)
    return Victims(
        ranks=numbers,
        waited_s=waited_s,
        waiting_in="collective" if longest else "report",
        collective=longest.collective if longest else None,
        is_recorded=any(wait.collective is not None for wait in waiting),
        gives_up_s=gives_up_in_s(waiting),
    )


def candidates(
    sample: AnalysisInput,
    late: Sequence[RankContext],
    victims: Victims,
    producers: Sequence[Producer],
) -> list[list[StallCandidate]]:
    """Return the late ranks that are to blame; those blocked alike are in one list."""
    alike: dict[tuple[Cause, bool, Where], list[StallCandidate]] = {}

    for member in late:
        candidate = _candidate(sample, member, victims, producers)

        if candidate is not None:
            alike.setdefault(candidate.kind, []).append(candidate)

    return list(alike.values())


def _candidate(
    sample: AnalysisInput, member: RankContext, victims: Victims, producers: Sequence[Producer]
) -> StallCandidate | None:
    """Return how a rank is stalled that its peers wait for, None where it is not to blame."""
    cause = cause_of(member)
    assert cause is not None
    activity, waited_s = activity_of(sample, member), victims.waited_s
    producer = next(
        (producer for producer in producers if producer.is_busy and cause == "object_wait"), None
    )
    idle_s = member.worker.idle_s or 0.0
    is_idle = activity.is_still if activity else idle_s >= min(AS_LONG * waited_s, STALLED_S)
    still = is_idle and producer is None and not _has_moved_on(sample, member)

    if _has_advanced(sample, member, waited_s):
        return None  # in another group, or it has come at last

    if gil_holder_of(member) and waited_s < HELD_S:
        return None  # what it is in holds the GIL, or is about to release it

    if _was_stopped(sample, member) or (not still and _is_excused(cause, activity, waited_s)):
        return None

    return StallCandidate(
        member=member,
        cause=cause,
        activity=activity,
        is_still=still,
        producer=producer,
        stalled_s=waited_s if activity or victims.is_recorded else max(idle_s, 0.0),
    )


def _has_advanced(sample: AnalysisInput, member: RankContext, waited_s: float) -> bool:
    """Tell whether a rank has made progress long after its peers began to wait."""
    at = advance_of(sample, member).at
    return at is not None and sample.snapshot.taken_at - at < (1 - AS_LONG) * waited_s


def _has_moved_on(sample: AnalysisInput, member: RankContext) -> bool:
    """Tell whether a rank was blocked in something else in the last sample."""
    before = before_of(sample, member)
    return before is not None and cause_of(before) not in (None, cause_of(member))


def _was_stopped(sample: AnalysisInput, member: RankContext) -> bool:
    """Tell whether a rank has only just been resumed by a debugger or SIGCONT."""
    before = before_of(sample, member)
    return before is not None and before.worker.state == "stopped"


def _is_excused(cause: Cause, activity: Activity | None, waited_s: float) -> bool:
    """Tell whether a rank that still runs may take its time: validation, a big checkpoint."""
    if activity is None:
        return False

    grace_s = stall_spec(cause).grace_s
    return waited_s < (STALLED_S if grace_s is None else grace_s)


def stall_spec(cause: Cause) -> StallSpec:
    """Return how the cause of a stalled rank applies to it."""
    stall = spec_of(cause).stall
    assert stall is not None
    return stall


def sequence_behind(member: RankContext, victims: Victims) -> int | None:
    """Return the number of a rank's last collective in the victims' group, if it is behind them."""
    if victims.collective is None:
        return None

    own = last_of(member, victims.collective.group)
    is_behind = own is not None and own.sequence < victims.collective.sequence
    return own.sequence if own is not None and is_behind else None
