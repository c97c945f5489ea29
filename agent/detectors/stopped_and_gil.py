"""Ranks whose process is not well: stopped, or with its GIL held."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.causes import spec_of
from dsray_inspect.agent.detectors.evidence.activity import before_of
from dsray_inspect.agent.detectors.evidence.blocked_in import cause_of
from dsray_inspect.agent.detectors.evidence.collective_waits import waits
from dsray_inspect.agent.detectors.evidence.rank_index import in_state
from dsray_inspect.agent.detectors.findings import be, name_ranks, next_command, place_of, ranks
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import OK, Finding, Worker
from dsray_inspect.agent.stacks.thread import Thread

HELD_S = 8.0
"""A garbage collection may hold the GIL for some seconds; a peer that waits longer is a victim."""


@detector(causes=("unknown",), after=("network_unreachable",))
def stopped(facts: AnalysisInput) -> list[Finding]:
    """Processes in state T or t. No cause code stands for it, so the code is honest: unknown."""
    still = in_state(facts, "stopped")
    held: dict[tuple[str, int], list[Worker]] = {}

    for member in still:
        if tracer := member.tracer:
            held.setdefault((member.worker.hostname, tracer), []).append(member.worker)

    alone = [member.worker for member in still if not member.tracer]
    return [
        *([frozen(alone)] if alone else []),
        *(debugged(workers, *key) for key, workers in held.items()),
    ]


def frozen(workers: Sequence[Worker]) -> Finding:
    numbers, first = ranks(workers), workers[0].hostname
    pids = " ".join(str(one.pid) for one in workers if one.hostname == first)
    whose = "it" if len(workers) == 1 else "them"
    return Finding(
        cause="unknown",
        severity="error",
        ranks=numbers,
        summary=f"{name_ranks(numbers).capitalize()} {be(workers)} stopped "
        f"(SIGSTOP or a debugger): {'its' if len(workers) == 1 else 'their'} peers wait for {whose}.",
        evidence=tuple(f"pid {one.pid} on {one.hostname} is in state T" for one in workers),
        next_step=f"kill -CONT {pids}   (on {first})",
    )


def debugged(workers: Sequence[Worker], hostname: str, tracer: int) -> Finding:
    numbers = ranks(workers)
    goes = "it goes" if len(workers) == 1 else "they go"
    return Finding(
        cause="unknown",
        severity="warning",
        ranks=numbers,
        summary=f"{name_ranks(numbers).capitalize()} {be(workers)} held by a debugger, "
        f"pid {tracer}; {goes} on when that does.",
        evidence=tuple(f"pid {one.pid} on {hostname}: TracerPid {tracer}" for one in workers),
        next_step=f"ps -fp {tracer}   (on {hostname})",
    )


def victims_wait(facts: AnalysisInput) -> bool:
    """Tell whether a peer has waited longer than a pause explains, or none can be asked."""
    waiting = waits(facts)
    return any(wait.waited_s >= HELD_S and wait.is_stall for wait in waiting) or (
        not waiting and facts.earlier is not None
    )


def gil_keeper_of(member: RankContext) -> Thread | None:
    """Return the thread that keeps the GIL of a rank which gives no answer.

    None where that is a write or a read: one that hangs is told by what it is for.
    """
    keeper, silence = member.seen.gil_keeper, member.silence

    if keeper is None or silence is None or silence.reason != "timeout":
        return None

    cause = cause_of(member)
    stall = spec_of(cause).stall if cause else None
    return None if stall is not None and stall.outranks_gil else keeper


@detector(causes=("gil_held",), after=("controller_blocked",))
def gil_held(facts: AnalysisInput) -> list[Finding]:
    """The main thread gives no answer while another keeps the GIL, at one place in two dumps."""
    if not victims_wait(facts):
        return []

    alike: dict[str, list[tuple[Worker, Thread]]] = {}

    for member in facts.members:
        keeper = gil_keeper_of(member)

        if keeper is not None and is_confirmed(facts, member):
            alike.setdefault(place_of(keeper.frames[-1]), []).append((member.worker, keeper))

    return [holders(facts, place, held) for place, held in alike.items()]


def holders(facts: AnalysisInput, place: str, held: Sequence[tuple[Worker, Thread]]) -> Finding:
    """Return the finding about ranks that hold their GIL at one place."""
    numbers = ranks(worker for worker, _ in held)
    one = len(held) == 1
    return Finding(
        cause="gil_held",
        severity="error",
        ranks=numbers,
        summary=f"{name_ranks(numbers).capitalize()} {'holds its' if one else 'hold their'} GIL "
        f"in {place}: nothing else in {'it' if one else 'them'} runs.",
        evidence=tuple(
            line
            for worker, keeper in held
            for line in (
                f"py-spy: {keeper.name} owns the GIL in two dumps, at the same line",
                f"rung 2: {worker.evidence.worker}",
            )
        ),
        next_step=next_command(facts, "stacks", numbers, "--native"),
    )


def is_confirmed(facts: AnalysisInput, member: RankContext) -> bool:
    """Tell whether the last look, if there was one, saw the GIL held at the same place.

    On a crowded machine a thread may be kept from its CPU, with the GIL, from one dump to the next.
    """
    before = before_of(facts, member)

    if before is None:
        return True

    keepers = (before.seen.gil_keeper, member.seen.gil_keeper)
    places = [(one.frames[-1].name, one.frames[-1].file) for one in keepers if one is not None]
    return len(places) == len(keepers) and len(set(places)) == 1


def unseen(facts: AnalysisInput) -> list[str]:
    """Return one sentence for each living rank of which no stack could be had."""
    return [
        f"{name_ranks(ranks([worker]))} on {worker.hostname}, pid {worker.pid}: {worker.evidence.stack}"
        for worker in facts.snapshot.workers
        if worker.state in ("alive", "stopped") and worker.evidence.stack != OK
    ]
