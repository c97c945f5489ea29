"""Ranks whose process is not well: stopped, or with its GIL held."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, place_of, ranks
from dsray_inspect.agent.detectors.motion import before_of
from dsray_inspect.agent.detectors.standing import cause_of
from dsray_inspect.agent.detectors.waits import waits
from dsray_inspect.agent.model import OK, Finding, Thread

HELD_S = 8.0
"""A garbage collection may hold the GIL for some seconds; a peer that waits longer is a victim."""

TOLD_BY_PURPOSE = ("checkpoint_stall", "data_stall")


def stopped(facts: Facts) -> list[Finding]:
    """A process in state T or t. No cause code stands for it, so the code is honest: unknown."""
    return [
        debugged(member) if tracer_of(member) else frozen(member)
        for member in facts.members
        if member.worker.state == "stopped"
    ]


def frozen(member: Member) -> Finding:
    worker = member.worker
    return Finding(
        cause="unknown",
        severity="error",
        ranks=ranks([worker]),
        summary=f"Rank {worker.rank} is stopped (SIGSTOP or a debugger): its peers wait for it.",
        evidence=(f"pid {worker.pid} on {worker.hostname} is in state T",),
        next_step=f"kill -CONT {worker.pid}   (on {worker.hostname})",
    )


def debugged(member: Member) -> Finding:
    worker, tracer = member.worker, tracer_of(member)
    return Finding(
        cause="unknown",
        severity="warning",
        ranks=ranks([worker]),
        summary=f"Rank {worker.rank} is held by a debugger, pid {tracer}; it goes on when that does.",
        evidence=(f"pid {worker.pid} on {worker.hostname}: TracerPid {tracer}",),
        next_step=f"ps -fp {tracer}   (on {worker.hostname})",
    )


def tracer_of(member: Member) -> int:
    return int(member.progress.get("tracer") or 0)


def victims_wait(facts: Facts) -> bool:
    """Tell whether a peer has waited longer than a pause explains, or none can be asked."""
    waiting = waits(facts)
    return any(wait.waited_s >= HELD_S and wait.is_stall for wait in waiting) or (
        not waiting and facts.earlier is not None
    )


def gil_keeper_of(member: Member) -> Thread | None:
    """Return the thread that keeps the GIL of a rank which gives no answer.

    None where that is a write or a read: one that hangs is told by what it is for.
    """
    silent = "did not answer" in member.worker.evidence.worker
    return member.seen.gil_keeper if silent and cause_of(member) not in TOLD_BY_PURPOSE else None


def gil_held(facts: Facts) -> list[Finding]:
    """The main thread gives no answer while another keeps the GIL, at one place in two dumps."""
    found: list[Finding] = []

    if not victims_wait(facts):
        return found

    for member in facts.members:
        keeper = gil_keeper_of(member)

        if keeper is None or not is_confirmed(facts, member):
            continue

        inner = keeper.frames[-1]
        where = place_of(inner)
        found.append(
            Finding(
                cause="gil_held",
                severity="error",
                ranks=ranks([member.worker]),
                summary=f"Rank {member.worker.rank} holds its GIL in {where}: nothing else in it runs.",
                evidence=(
                    f"py-spy: {keeper.name} owns the GIL in two dumps, at the same line",
                    f"rung 2: {member.worker.evidence.worker}",
                ),
                next_step=next_command(facts, "stacks", ranks([member.worker]), "--native"),
            )
        )

    return found


def is_confirmed(facts: Facts, member: Member) -> bool:
    """Tell whether the last look, if there was one, saw the GIL held at the same place.

    On a crowded machine a thread may be kept from its CPU, with the GIL, from one dump to the next.
    """
    before = before_of(facts, member)

    if before is None:
        return True

    keepers = (before.seen.gil_keeper, member.seen.gil_keeper)
    places = [(one.frames[-1].name, one.frames[-1].file) for one in keepers if one is not None]
    return len(places) == len(keepers) and len(set(places)) == 1


def unseen(facts: Facts) -> list[str]:
    """Return one sentence for each living rank of which no stack could be had."""
    return [
        f"{name_ranks(ranks([worker]))} on {worker.hostname}, pid {worker.pid}: {worker.evidence.stack}"
        for worker in facts.snapshot.workers
        if worker.state in ("alive", "stopped") and worker.evidence.stack != OK
    ]
