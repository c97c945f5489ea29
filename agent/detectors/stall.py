"""Ranks that keep their peers waiting: those that come to no collective, report or step."""

from __future__ import annotations

from collections.abc import Sequence

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
from dsray_inspect.agent.detectors.makers import makers_of
from dsray_inspect.agent.detectors.motion import Motion, before_of, motion_of
from dsray_inspect.agent.detectors.process import HELD_S, gil_keeper_of
from dsray_inspect.agent.detectors.standing import cause_of, is_reporting, place, quiet_s
from dsray_inspect.agent.detectors.waits import (
    Wait,
    gives_up_in_s,
    last_of,
    name_of,
    stall_s,
    waits,
)
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


def blocked_outside_collective(facts: Facts) -> list[Finding]:
    """Some ranks wait for others, and these are somewhere else."""
    waiting = waits(facts)
    inside = [wait.member for wait in waiting]
    entered = set(map(id, inside))
    outside = [member for member in facts.members if id(member) not in entered]
    reporting = [member for member in outside if is_reporting(member)]
    late = [member for member in outside if cause_of(member) is not None]
    gone = [member for member in outside if member.worker.phase == "finished"]

    # A rank that is none of these has a story of its own, which others tell.
    if len(late) + len(gone) + len(reporting) < len(outside):
        return []

    if not waiting and not reporting:
        return [] if gone else nobody_comes(facts, late)

    # One long wait is enough: a look with --native sets the clock of others back.
    if not any(wait.is_stall for wait in waiting) and not any(map(is_quiet, reporting)):
        return []

    victims = ranks(member.worker for member in (*inside, *reporting))
    waited_s = longest_s(waiting, reporting)
    return [
        *(left(facts, member, victims, waiting, waited_s) for member in gone),
        *(
            finding
            for member in late
            for finding in blame(facts, member, victims, waiting, waited_s)
        ),
    ]


def is_quiet(member: Member) -> bool:
    """Tell whether a rank has come to no collective for longer than its rhythm explains."""
    seconds = quiet_s(member)
    return seconds is not None and seconds >= stall_s(member.worker.longest_gap_s)


def longest_s(waiting: Sequence[Wait], reporting: Sequence[Member]) -> float:
    return max((*(wait.waited_s for wait in waiting), *(quiet_s(one) or 0.0 for one in reporting)))


def left(
    facts: Facts, member: Member, victims: Sequence[int], waiting: Sequence[Wait], waited_s: float
) -> Finding:
    """The rank has returned from the training function while its peers go on."""
    worker = member.worker
    return Finding(
        cause="rank_divergence" if waiting else "report_barrier",
        severity="error",
        ranks=ranks([worker]),
        summary=(
            f"Rank {worker.rank} has left the training function; {name_ranks(victims)} "
            f"{waits_verb(victims)} for it for {duration(waited_s)}."
        ),
        evidence=(
            f"rank {worker.rank}: its training thread has ended",
            waiting_text(victims, waiting, waited_s),
            *recorded(member, waiting),
        ),
        next_step=next_command(facts, "stacks", victims[:1]),
    )


def blame(
    facts: Facts, member: Member, victims: Sequence[int], waiting: Sequence[Wait], waited_s: float
) -> list[Finding]:
    """Blame a rank that stands still; one that still moves is slow, if anything."""
    cause = cause_of(member)
    assert cause is not None
    motion = motion_of(facts, member)
    makers = makers_of(facts) if cause == "object_wait" else []
    at_work = next((maker.name for maker in makers if maker.is_busy), None)
    idle_s = member.worker.idle_s or 0.0
    stood = motion.is_still if motion else idle_s >= min(AS_LONG * waited_s, STALLED_S)
    still = stood and at_work is None and not has_moved_on(facts, member)

    if gil_keeper_of(member) and waited_s < HELD_S:
        return []  # what it is in holds the GIL, or soon lets go of it

    if was_stopped(facts, member) or (not still and is_excused(cause, motion, waited_s)):
        return []

    stands_s = waited_s if motion or waiting_is_recorded(waiting) else max(idle_s, 0.0)
    evidence = (
        *([f"rank {member.worker.rank}: {motion.text()}"] if motion else []),
        (
            f"rank {member.worker.rank}: last ran {duration(idle_s)} ago "
            f"(/proc/{member.worker.pid}/task)"
        ),
        waiting_text(victims, waiting, waited_s),
        *recorded(member, waiting),
        *children_text(member),
        *(maker.text for maker in makers[:MOST_MAKERS]),
    )
    who = f"Rank {member.worker.rank} is"
    peers = f"{name_ranks(victims)} {'has' if len(victims) == 1 else 'have'} waited"
    return [
        Finding(
            cause=cause if still or cause in TOLD_BY_NAME else "straggler",
            severity="error" if still else "warning",
            ranks=ranks([member.worker]),
            summary=(
                f"{who} blocked in {what(cause, member)} for {duration(stands_s)}; "
                f"{name_ranks(victims)} {waits_verb(victims)} for it."
                if still
                else f"{who} in {what(cause, member)} and {at_work or 'it'} still runs; "
                f"{peers} {duration(waited_s)} for it."
            ),
            evidence=evidence,
            next_step=next_command(
                facts, "stacks", ranks([member.worker]), FLAGS.get(cause, "--locals")
            ),
        )
    ]


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


def nobody_comes(facts: Facts, late: Sequence[Member]) -> list[Finding]:
    """Every rank stands still outside of any collective, far longer than ever before."""
    motions = [motion_of(facts, member) for member in late]
    causes = {cause_of(member) for member in late}
    quiet = [quiet_s(member) for member in late]

    if len(causes) != 1 or not all(motion and motion.is_still for motion in motions):
        return []

    if not all(
        seconds is not None and seconds >= max(STALLED_S, stall_s(member.worker.longest_gap_s))
        for seconds, member in zip(quiet, late, strict=True)
    ):
        return []

    cause = next(iter(causes))
    assert cause is not None
    numbers = ranks(member.worker for member in late)
    lasts_s = min(seconds or 0.0 for seconds in quiet)
    return [
        Finding(
            cause=cause,
            severity="error",
            ranks=numbers,
            summary=(
                f"Every rank is blocked in {what(cause, late[0])} for {duration(lasts_s)}; "
                "none waits for another."
            ),
            evidence=tuple(
                f"rank {member.worker.rank}: {place(member)}; {motion.text()}"
                for member, motion in zip(late, motions, strict=True)
                if motion
            ),
            next_step=next_command(facts, "stacks", numbers[:1], "--locals"),
        )
    ]


def what(cause: Cause, member: Member) -> str:
    words = {
        "object_wait": "ray.get, called by ",
        "checkpoint_stall": "its checkpoint, ",
        "data_stall": "its data loading, ",
    }
    return f"{words.get(cause, '')}{place(member)}"


def waiting_is_recorded(waiting: Sequence[Wait]) -> bool:
    return any(wait.collective is not None for wait in waiting)


def waiting_text(victims: Sequence[int], waiting: Sequence[Wait], waited_s: float) -> str:
    longest = max(waiting, key=lambda wait: wait.waited_s, default=None)
    collective = longest.collective if longest else None
    name = name_of(collective) if collective else "a collective" if waiting else "ray.train.report"
    return f"{name_ranks(victims)}: in {name}, for up to {duration(waited_s)}"


def recorded(member: Member, waiting: Sequence[Wait]) -> list[str]:
    """Return what the flight recorders add: who is behind, and when the group gives up."""
    lines = []
    longest = max(waiting, key=lambda wait: wait.waited_s, default=None)

    if longest is not None and longest.collective is not None:
        own = last_of(member, longest.collective.group)

        if own is not None and own.sequence < longest.collective.sequence:
            lines.append(
                f"rank {member.worker.rank}: its last collective of that group is #{own.sequence}"
            )

    left_s = gives_up_in_s(waiting)
    return [*lines, *([f"the group gives up in {duration(left_s)}"] if left_s else [])]


def children_text(member: Member) -> list[str]:
    """Return what the children of a rank in data loading are in."""
    return [
        f"child {thread.pid}: in {place_of(thread.frames[-1])}"
        for thread in member.children
        if thread.frames and member.worker.phase == "data"
    ][:4]
