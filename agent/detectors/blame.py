"""A rank that its peers wait for: whether it stands still, and the finding that says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.detectors.findings import (
    STALLED_S,
    duration,
    name_ranks,
    next_command,
    place_of,
    ranks,
)
from dsray_inspect.agent.detectors.findings import wait as waits_verb
from dsray_inspect.agent.detectors.makers import Maker, makers_of
from dsray_inspect.agent.detectors.motion import Motion, before_of, motion_of
from dsray_inspect.agent.detectors.process import HELD_S, gil_keeper_of
from dsray_inspect.agent.detectors.standing import cause_of, place
from dsray_inspect.agent.detectors.waits import Wait, gives_up_in_s, last_of, name_of
from dsray_inspect.agent.model import Cause, Finding

AS_LONG = 0.8
"""A rank that has stood still for nearly as long as its peers wait is why they wait."""
SAVING_S = 120.0
"""A checkpoint that is being written may take that long before anybody is told."""
TOLD_BY_NAME = ("data_stall", "object_wait")
"""Causes that are named also while something still moves."""
MOST_MAKERS = 3
FLAGS: dict[Cause, str] = {
    "data_stall": "--all-threads",
    "object_wait": "--all-threads",
}


class Standing(NamedTuple):
    """A rank that its peers wait for."""

    member: Member
    cause: Cause
    motion: Motion | None
    is_still: bool
    at_work: str | None
    """The actor that makes what it waits for, while that is busy."""
    stands_s: float


def blame(
    facts: Facts,
    late: Sequence[Member],
    victims: Sequence[int],
    waiting: Sequence[Wait],
    waited_s: float,
) -> list[Finding]:
    """Blame ranks that stand still; those that still move are slow, if anything.

    Ranks that stand in one place for one cause are one finding.
    """
    makers = makers_of(facts)
    alike: dict[tuple[Cause, bool, str], list[Standing]] = {}

    for member in late:
        one = standing_of(facts, member, waiting, waited_s, makers)

        if one is not None:
            alike.setdefault((one.cause, one.is_still, place(member)), []).append(one)

    longest, gives_up = longest_of(waiting), gives_up_text(waiting)
    wait_line = waiting_text(victims, longest, waited_s)

    def evidence(same: Sequence[Standing]) -> Iterator[str]:
        for number, one in enumerate(same):
            yield from moved_text(one)
            yield from () if number else (wait_line,)
            yield from behind_text(one.member, longest)
            yield from () if number else gives_up
            yield from children_text(one.member)

    return [
        blamed(facts, same, victims, waited_s, tuple(evidence(same)), makers)
        for same in alike.values()
    ]


def standing_of(
    facts: Facts,
    member: Member,
    waiting: Sequence[Wait],
    waited_s: float,
    makers: Sequence[Maker],
) -> Standing | None:
    """Return how a rank stands that its peers wait for, None where it is not to blame."""
    cause = cause_of(member)
    assert cause is not None
    motion = motion_of(facts, member)
    at_work = next((one.name for one in makers if one.is_busy and cause == "object_wait"), None)
    idle_s = member.worker.idle_s or 0.0
    stood = motion.is_still if motion else idle_s >= min(AS_LONG * waited_s, STALLED_S)
    still = stood and at_work is None and not has_moved_on(facts, member)

    if gil_keeper_of(member) and waited_s < HELD_S:
        return None  # what it is in holds the GIL, or soon lets go of it

    if was_stopped(facts, member) or (not still and is_excused(cause, motion, waited_s)):
        return None

    return Standing(
        member=member,
        cause=cause,
        motion=motion,
        is_still=still,
        at_work=at_work,
        stands_s=waited_s if motion or waiting_is_recorded(waiting) else max(idle_s, 0.0),
    )


def blamed(
    facts: Facts,
    same: Sequence[Standing],
    victims: Sequence[int],
    waited_s: float,
    evidence: tuple[str, ...],
    makers: Sequence[Maker],
) -> Finding:
    """Return the finding about ranks that stand alike."""
    first = same[0]
    numbers = ranks(one.member.worker for one in same)
    who = f"{name_ranks(numbers).capitalize()} {'is' if len(same) == 1 else 'are'}"
    they = "it" if len(same) == 1 else "them"
    runs = f"{first.at_work or they if len(same) == 1 else 'they'} still run"
    where = what(first.cause, first.member)
    longest_s = max(one.stands_s for one in same)
    peers = f"{name_ranks(victims)} {'has' if len(victims) == 1 else 'have'} waited"

    if first.cause == "object_wait":
        evidence = (*evidence, *(maker.text for maker in makers[:MOST_MAKERS]))

    return Finding(
        cause=first.cause if first.is_still or first.cause in TOLD_BY_NAME else "straggler",
        severity="error" if first.is_still else "warning",
        ranks=numbers,
        summary=(
            f"{who} blocked in {where} for {duration(longest_s)}; "
            f"{name_ranks(victims)} {waits_verb(victims)} for {they}."
            if first.is_still
            else f"{who} in {where} and {runs}{'s' if len(same) == 1 else ''}; "
            f"{peers} {duration(waited_s)} for {they}."
        ),
        evidence=evidence,
        next_step=next_command(facts, "stacks", numbers, FLAGS.get(first.cause, "--locals")),
    )


def moved_text(one: Standing) -> Iterator[str]:
    worker = one.member.worker

    if one.motion:
        yield f"rank {worker.rank}: {one.motion.text()}"

    idle = duration(worker.idle_s or 0.0)
    yield f"rank {worker.rank}: last ran {idle} ago (/proc/{worker.pid}/task)"


def has_moved_on(facts: Facts, member: Member) -> bool:
    """Tell whether a rank stood in something else when it was last seen: that it has left."""
    before = before_of(facts, member)
    return before is not None and cause_of(before) not in (None, cause_of(member))


def was_stopped(facts: Facts, member: Member) -> bool:
    """Tell whether a rank has only just been let go on, by a debugger or SIGCONT."""
    before = before_of(facts, member)
    return before is not None and before.worker.state == "stopped"


def is_excused(cause: Cause, motion: Motion | None, waited_s: float) -> bool:
    """Tell whether a rank that moves may still take its time: validation, a big checkpoint."""
    if motion is None:
        return False

    return waited_s < (SAVING_S if cause == "checkpoint_stall" else STALLED_S)


def what(cause: Cause, member: Member) -> str:
    words = {
        "object_wait": "ray.get, called by ",
        "checkpoint_stall": "its checkpoint, ",
        "data_stall": "its data loading, ",
    }
    return f"{words.get(cause, '')}{place(member)}"


def waiting_is_recorded(waiting: Sequence[Wait]) -> bool:
    return any(wait.collective is not None for wait in waiting)


def longest_of(waiting: Sequence[Wait]) -> Wait | None:
    return max(waiting, key=lambda wait: wait.waited_s, default=None)


def waiting_text(victims: Sequence[int], longest: Wait | None, waited_s: float) -> str:
    return f"{name_ranks(victims)}: in {waited_in(longest)}, for up to {duration(waited_s)}"


def waited_in(longest: Wait | None) -> str:
    if longest is None:
        return "ray.train.report"

    if longest.collective is not None:
        return name_of(longest.collective)

    makes_group = longest.member.worker.phase == "init_process_group"
    return "init_process_group" if makes_group else "a collective"


def behind_text(member: Member, longest: Wait | None) -> list[str]:
    """Return how far a rank has come in the group of the longest wait, where it is behind."""
    if longest is None or longest.collective is None:
        return []

    own = last_of(member, longest.collective.group)

    if own is None or own.sequence >= longest.collective.sequence:
        return []

    return [f"rank {member.worker.rank}: its last collective of that group is #{own.sequence}"]


def gives_up_text(waiting: Sequence[Wait]) -> list[str]:
    left_s = gives_up_in_s(waiting)
    return [f"the group gives up in {duration(left_s)}"] if left_s else []


def children_text(member: Member) -> list[str]:
    """Return what the children of a rank in data loading are in."""
    return [
        f"child {thread.pid}: in {place_of(thread.frames[-1])}"
        for thread in member.children
        if thread.frames and member.worker.phase == "data"
    ][:4]
