"""A rank that its peers wait for: whether it stands still, and the finding that says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.causes import StallSpec, spec_of
from dsray_inspect.agent.detectors.evidence.activity import Activity, before_of, motion_of
from dsray_inspect.agent.detectors.evidence.blocked_in import cause_of, place
from dsray_inspect.agent.detectors.evidence.collective_waits import (
    Wait,
    gives_up_in_s,
    last_of,
    name_of,
)
from dsray_inspect.agent.detectors.evidence.object_producers import Producer, makers_of
from dsray_inspect.agent.detectors.findings import (
    STALLED_S,
    be,
    duration,
    name_ranks,
    next_command,
    place_of,
    ranks,
)
from dsray_inspect.agent.detectors.findings import wait as waits_verb
from dsray_inspect.agent.detectors.stopped_and_gil import HELD_S, gil_keeper_of
from dsray_inspect.agent.model import Cause, Collective, Finding

AS_LONG = 0.8
"""A rank that has stood still for nearly as long as its peers wait is why they wait."""
MOST_MAKERS = 3


class Victims(NamedTuple):
    """Those that wait for the late ones, and in what."""

    numbers: tuple[int, ...]
    waited_s: float
    place: str
    """What they are in: a collective, a report, the making of a group."""
    longest: Collective | None = None
    """What the one that waits longest is in, as its flight recorder has it."""
    is_recorded: bool = False
    """Whether a flight recorder tells of any of them."""
    gives_up_s: float | None = None
    """After how long the first of their groups gives up."""

    @property
    def text(self) -> str:
        return f"{name_ranks(self.numbers)}: in {self.place}, for up to {duration(self.waited_s)}"

    @property
    def end_text(self) -> list[str]:
        left_s = self.gives_up_s
        return [f"the group gives up in {duration(left_s)}"] if left_s else []


def victims_of(numbers: tuple[int, ...], waiting: Sequence[Wait], waited_s: float) -> Victims:
    """Return ranks that wait in collectives, or, where nobody does, in a report."""
    longest = max(waiting, key=lambda wait: wait.waited_s, default=None)
    collective = longest.collective if longest else None
    unnamed = "a collective" if longest else "ray.train.report"
    return Victims(
        numbers=numbers,
        waited_s=waited_s,
        place=name_of(collective) if collective else unnamed,
        longest=collective,
        is_recorded=any(wait.collective is not None for wait in waiting),
        gives_up_s=gives_up_in_s(waiting),
    )


class StallCandidate(NamedTuple):
    """A rank that its peers wait for."""

    member: RankContext
    cause: Cause
    motion: Activity | None
    is_still: bool
    at_work: str | None
    """The actor that makes what it waits for, while that is busy."""
    stands_s: float


def blame(facts: AnalysisInput, late: Sequence[RankContext], victims: Victims) -> list[Finding]:
    """Blame ranks that stand still; those that still move are slow, if anything.

    Ranks that stand in one place for one cause are one finding.
    """
    makers = makers_of(facts)
    alike: dict[tuple[Cause, bool, str], list[StallCandidate]] = {}

    for member in late:
        one = standing_of(facts, member, victims, makers)

        if one is not None:
            alike.setdefault((one.cause, one.is_still, place(member)), []).append(one)

    return [blamed(facts, same, victims, makers) for same in alike.values()]


def standing_of(
    facts: AnalysisInput, member: RankContext, victims: Victims, makers: Sequence[Producer]
) -> StallCandidate | None:
    """Return how a rank stands that its peers wait for, None where it is not to blame."""
    cause = cause_of(member)
    assert cause is not None
    motion, waited_s = motion_of(facts, member), victims.waited_s
    at_work = next((one.name for one in makers if one.is_busy and cause == "object_wait"), None)
    idle_s = member.worker.idle_s or 0.0
    stood = motion.is_still if motion else idle_s >= min(AS_LONG * waited_s, STALLED_S)
    still = stood and at_work is None and not has_moved_on(facts, member)

    if gil_keeper_of(member) and waited_s < HELD_S:
        return None  # what it is in holds the GIL, or soon lets go of it

    if was_stopped(facts, member) or (not still and is_excused(cause, motion, waited_s)):
        return None

    return StallCandidate(
        member=member,
        cause=cause,
        motion=motion,
        is_still=still,
        at_work=at_work,
        stands_s=waited_s if motion or victims.is_recorded else max(idle_s, 0.0),
    )


def blamed(
    facts: AnalysisInput,
    same: Sequence[StallCandidate],
    victims: Victims,
    makers: Sequence[Producer],
) -> Finding:
    """Return the finding about ranks that stand alike."""
    first = same[0]
    stall, (command, *flags) = stall_spec(first.cause), spec_of(first.cause).next
    numbers = ranks(one.member.worker for one in same)
    who = f"{name_ranks(numbers).capitalize()} {be(same)}"
    where, peers = what(first.cause, first.member), name_ranks(victims.numbers)

    if first.is_still:
        lasts = duration(max(one.stands_s for one in same))
        summary = f"{who} blocked in {where} for {lasts}; {peers} {waits_verb(victims.numbers)}"
    else:
        many = "they still run" if len(same) > 1 else "it still runs"
        runs = f"{first.at_work} still runs" if first.at_work else many
        have = "has" if len(victims.numbers) == 1 else "have"
        lasts = duration(victims.waited_s)
        summary = f"{who} in {where} and {runs}; {peers} {have} waited {lasts}"

    return Finding(
        cause=first.cause if first.is_still or stall.named_while_active else "straggler",
        severity="error" if first.is_still else "warning",
        ranks=numbers,
        summary=f"{summary} for {'it' if len(same) == 1 else 'them'}.",
        evidence=tuple(evidence_of(same, victims, makers)),
        next_step=next_command(facts, command, numbers, *flags),
    )


def evidence_of(
    same: Sequence[StallCandidate], victims: Victims, makers: Sequence[Producer]
) -> Iterator[str]:
    """Yield what is known of each; what the victims wait in after the first."""
    for number, one in enumerate(same):
        yield from moved_text(one)
        yield from () if number else (victims.text,)
        yield from behind_text(one.member, victims)
        yield from () if number else victims.end_text
        yield from children_text(one.member)

    if same[0].cause == "object_wait":
        yield from (maker.text for maker in makers[:MOST_MAKERS])


def moved_text(one: StallCandidate) -> Iterator[str]:
    worker = one.member.worker

    if one.motion:
        yield f"rank {worker.rank}: {one.motion.text()}"

    idle = duration(worker.idle_s or 0.0)
    yield f"rank {worker.rank}: last ran {idle} ago (/proc/{worker.pid}/task)"


def has_moved_on(facts: AnalysisInput, member: RankContext) -> bool:
    """Tell whether a rank stood in something else when it was last seen: that it has left."""
    before = before_of(facts, member)
    return before is not None and cause_of(before) not in (None, cause_of(member))


def was_stopped(facts: AnalysisInput, member: RankContext) -> bool:
    """Tell whether a rank has only just been let go on, by a debugger or SIGCONT."""
    before = before_of(facts, member)
    return before is not None and before.worker.state == "stopped"


def is_excused(cause: Cause, motion: Activity | None, waited_s: float) -> bool:
    """Tell whether a rank that moves may still take its time: validation, a big checkpoint."""
    if motion is None:
        return False

    grace_s = stall_spec(cause).grace_s
    return waited_s < (STALLED_S if grace_s is None else grace_s)


def stall_spec(cause: Cause) -> StallSpec:
    """Return how a stalled rank's cause applies to it."""
    stall = spec_of(cause).stall
    assert stall is not None
    return stall


def what(cause: Cause, member: RankContext) -> str:
    activity = stall_spec(cause).activity
    return f"{activity} {place(member)}".lstrip()


def behind_text(member: RankContext, victims: Victims) -> list[str]:
    """Return how far a rank has come in the group of the longest wait, where it is behind."""
    if victims.longest is None:
        return []

    own = last_of(member, victims.longest.group)

    if own is None or own.sequence >= victims.longest.sequence:
        return []

    return [f"rank {member.worker.rank}: its last collective of that group is #{own.sequence}"]


def children_text(member: RankContext) -> list[str]:
    """Return what the children of a rank in data loading are in."""
    return [
        f"child {thread.pid}: in {place_of(thread.frames[-1])}"
        for thread in member.children
        if thread.frames and member.worker.phase == "data"
    ][:4]
