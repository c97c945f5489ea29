"""Ranks that do not come to a collective in which their peers wait."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.detectors.findings import (
    STALLED_S,
    duration,
    name_ranks,
    next_command,
    ranks,
)
from dsray_inspect.agent.detectors.findings import wait as waits_verb
from dsray_inspect.agent.detectors.waits import Wait, gives_up_in_s, last_of, name_of, waits
from dsray_inspect.agent.model import Cause, Finding

CAUSES: dict[str, Cause] = {
    "data": "data_stall",
    "user": "rank_blocked_in_user_code",
    "forward": "rank_blocked_in_user_code",
    "checkpoint": "checkpoint_stall",
}
AS_LONG = 0.8
"""A rank that has stood still for nearly as long as its peers wait is why they wait."""


def blocked_outside_collective(facts: Facts) -> list[Finding]:
    """Ranks have waited long in a collective, and others have not come to it."""
    waiting = waits(facts)
    inside = [wait.member for wait in waiting]
    outside = [member for member in facts.members if member not in inside]
    late = [
        member
        for member in outside
        if member.worker.state == "alive" and member.worker.phase in CAUSES
    ]
    gone = [member for member in outside if member.worker.phase == "finished"]

    # One long wait is enough: a look with --native sets the clock of others back.
    if not any(wait.is_stall for wait in waiting) or len(late) + len(gone) < len(outside):
        return []

    return [
        *(left(facts, member, waiting) for member in gone),
        *(finding(facts, member, waiting) for member in late),
    ]


def left(facts: Facts, member: Member, waiting: Sequence[Wait]) -> Finding:
    """The rank has returned from the training function while its peers go on."""
    worker = member.worker
    longest = max(waiting, key=lambda wait: wait.waited_s)
    victims = sorted(wait.member.worker.rank or 0 for wait in waiting)
    return Finding(
        cause="rank_divergence",
        severity="error",
        ranks=ranks([worker]),
        summary=(
            f"Rank {worker.rank} has left the training function; {name_ranks(victims)} "
            f"{waits_verb(victims)} for it for {duration(longest.waited_s)}."
        ),
        evidence=(
            f"rank {worker.rank}: its training thread has ended",
            waiting_text(victims, longest),
            *recorded(member, longest, waiting),
        ),
        next_step=next_command(facts, "stacks", victims[:1]),
    )


def finding(facts: Facts, member: Member, waiting: Sequence[Wait]) -> Finding:
    """Blame a rank that stands still; one that still moves is slow, as far as one look tells."""
    worker = member.worker
    longest = max(waiting, key=lambda wait: wait.waited_s)
    victims = sorted(wait.member.worker.rank or 0 for wait in waiting)
    function = worker.function
    where = (
        f"{function.name} ({function.file.rpartition('/')[2]}:{function.line})"
        if function
        else worker.phase
    )
    idle_s = worker.idle_s or 0.0
    still = idle_s >= min(AS_LONG * longest.waited_s, STALLED_S)
    stands_s = max(idle_s, longest.waited_s if longest.collective else 0.0)
    peers = f"{name_ranks(victims)} {'has' if len(victims) == 1 else 'have'} waited"
    return Finding(
        cause=CAUSES[worker.phase] if still or worker.phase == "data" else "straggler",
        severity="error" if still else "warning",
        ranks=ranks([worker]),
        summary=(
            f"Rank {worker.rank} is blocked in {where} for {duration(stands_s)}; "
            f"{name_ranks(victims)} {waits_verb(victims)} for it."
            if still
            else f"Rank {worker.rank} is in {where} and still runs now and then; "
            f"{peers} {duration(longest.waited_s)} for it in a collective."
        ),
        evidence=(
            f"rank {worker.rank}: last ran {duration(idle_s)} ago (/proc/{worker.pid}/task)",
            waiting_text(victims, longest),
            *recorded(member, longest, waiting),
        ),
        next_step=next_command(
            facts,
            "stacks",
            ranks([worker]),
            "--all-threads" if worker.phase == "data" else "--locals",
        ),
    )


def waiting_text(victims: Sequence[int], longest: Wait) -> str:
    name = name_of(longest.collective) if longest.collective else "a collective"
    return f"{name_ranks(victims)}: in {name}, for up to {duration(longest.waited_s)}"


def recorded(member: Member, longest: Wait, waiting: Sequence[Wait]) -> list[str]:
    """Return what the flight recorders add: who is behind, and when the group gives up."""
    lines = []

    if longest.collective is not None:
        own = last_of(member, longest.collective.group)

        if own is not None and own.sequence < longest.collective.sequence:
            lines.append(
                f"rank {member.worker.rank}: its last collective of that group is #{own.sequence}"
            )

    left_s = gives_up_in_s(waiting)
    return [*lines, *([f"the group gives up in {duration(left_s)}"] if left_s else [])]
