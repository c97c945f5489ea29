"""Ranks that stand still in their own code while their peers wait for them in a collective."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.detectors.findings import (
    STALLED_S,
    duration,
    name_ranks,
    next_command,
    ranks,
    wait,
)
from dsray_inspect.agent.model import Cause, Finding
from dsray_inspect.agent.stacks.phase import training_thread, waits_in_collective

CAUSES: dict[str, Cause] = {
    "data": "data_stall",
    "user": "rank_blocked_in_user_code",
    "forward": "rank_blocked_in_user_code",
    "checkpoint": "checkpoint_stall",
}


def blocked_outside_collective(facts: Facts) -> list[Finding]:
    """Ranks have waited long in a collective, and others have not come to it."""
    waiting = [member for member in facts.members if in_collective(member)]
    late = [
        member
        for member in facts.members
        if member not in waiting
        and member.worker.state == "alive"
        and member.worker.phase in CAUSES
    ]
    others = [member for member in facts.members if member not in waiting and member not in late]
    # One long wait is enough: a look with --native sets the clock of others back.
    waited_s = max((member.worker.idle_s or 0.0 for member in waiting), default=0.0)

    if not late or others or waited_s < STALLED_S:
        return []

    victims = [member.worker.rank or 0 for member in waiting]
    return [finding(facts, member, victims, waited_s) for member in late]


def in_collective(member: Member) -> bool:
    training = training_thread(member.seen.threads)
    return training is not None and waits_in_collective(training.frames)


def finding(facts: Facts, member: Member, victims: list[int], waited_s: float) -> Finding:
    """Blame a rank that stands still; one that still moves is slow, as far as one look tells."""
    worker = member.worker
    function = worker.function
    where = (
        f"{function.name} ({function.file.rpartition('/')[2]}:{function.line})"
        if function
        else worker.phase
    )
    idle_s = worker.idle_s or 0.0
    still = idle_s >= STALLED_S
    cause = CAUSES[worker.phase]
    peers = f"{name_ranks(victims)} {'has' if len(victims) == 1 else 'have'} waited"
    return Finding(
        cause=cause if still or worker.phase == "data" else "straggler",
        severity="error" if still else "warning",
        ranks=ranks([worker]),
        summary=(
            f"Rank {worker.rank} is blocked in {where} for {duration(idle_s)}; "
            f"{name_ranks(victims)} {wait(victims)} for it."
            if still
            else f"Rank {worker.rank} is in {where} and still runs now and then; "
            f"{peers} {duration(waited_s)} for it in a collective."
        ),
        evidence=(
            f"rank {worker.rank}: last ran {duration(idle_s)} ago (/proc/{worker.pid}/task)",
            f"{name_ranks(victims)}: in a collective, for up to {duration(waited_s)}",
        ),
        next_step=next_command(
            facts,
            "stacks",
            ranks([worker]),
            "--all-threads" if worker.phase == "data" else "--locals",
        ),
    )
