"""Ranks that stand still in their own code while their peers wait for them in a collective."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.detectors.findings import STALLED_S, duration, name_ranks, ranks, wait
from dsray_inspect.agent.model import Cause, Finding
from dsray_inspect.agent.stacks.phase import training_thread, waits_in_collective

CAUSES: dict[str, Cause] = {
    "data": "data_stall",
    "user": "rank_blocked_in_user_code",
    "forward": "rank_blocked_in_user_code",
    "checkpoint": "checkpoint_stall",
}


def blocked_outside_collective(facts: Facts) -> list[Finding]:
    """The kernel has not run the training thread for long, and its peers wait in a collective."""
    waiting = [member for member in facts.members if in_collective(member)]
    still = [
        member
        for member in facts.members
        if member not in waiting
        and member.worker.state == "alive"
        and (member.worker.idle_s or 0.0) >= STALLED_S
        and member.worker.phase in CAUSES
    ]
    busy = [member for member in facts.members if member not in waiting and member not in still]

    if not waiting or not still or busy:
        return []

    return [finding(member, [other.worker.rank or 0 for other in waiting]) for member in still]


def in_collective(member: Member) -> bool:
    training = training_thread(member.seen.threads)
    return training is not None and waits_in_collective(training.frames)


def finding(member: Member, victims: list[int]) -> Finding:
    worker = member.worker
    function = worker.function
    where = (
        f"{function.name} ({function.file.rpartition('/')[2]}:{function.line})"
        if function
        else worker.phase
    )
    idle = duration(worker.idle_s or 0.0)
    return Finding(
        cause=CAUSES[worker.phase],
        severity="error",
        ranks=ranks([worker]),
        summary=f"Rank {worker.rank} is blocked in {where} for {idle}; {name_ranks(victims)} {wait(victims)} for it.",
        evidence=(
            f"rank {worker.rank}: its training thread has not run for {idle} (/proc/{worker.pid}/task)",
            f"{name_ranks(victims)}: in a collective",
        ),
        next_step="dsray-inspect stacks --locals",
    )
