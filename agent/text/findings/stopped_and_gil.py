"""Processes that do not run."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.stopped_and_gil import GilHeld, HeldByDebugger, StoppedRanks
from dsray_inspect.agent.text.findings.phrases import where_name
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, name_ranks, sentence


@words.register
def stopped_ranks(facts: StoppedRanks, detection: Detection) -> Words:
    processes = facts.processes
    first = processes[0].hostname
    pids = " ".join(str(process.pid) for process in processes if process.hostname == first)
    return Words(
        summary=f"{sentence(name_ranks(detection.ranks))} {agree(processes, 'is', 'are')} stopped "
        f"(SIGSTOP or a debugger); {agree(processes, 'its', 'their')} peers are waiting for "
        f"{agree(processes, 'it', 'them')}.",
        evidence=tuple(
            f"pid {process.pid} on {process.hostname} is in state T" for process in processes
        ),
        next_step=f"kill -CONT {pids}   (on {first})",
    )


@words.register
def held_by_debugger(facts: HeldByDebugger, detection: Detection) -> Words:
    tracer, hostname = facts.tracer_pid, facts.hostname
    return Words(
        summary=f"{sentence(name_ranks(detection.ranks))} {agree(facts.pids, 'is', 'are')} held by "
        f"a debugger (pid {tracer}) until it lets {agree(facts.pids, 'it', 'them')} go on.",
        evidence=tuple(f"pid {pid} on {hostname}: TracerPid {tracer}" for pid in facts.pids),
        next_step=f"ps -fp {tracer}   (on {hostname})",
    )


@words.register
def gil_held(facts: GilHeld, detection: Detection) -> Words:
    holders = facts.holders
    return Words(
        summary=f"{sentence(name_ranks(detection.ranks))} "
        f"{agree(holders, 'holds its GIL', 'hold their GILs')} in {where_name(facts.place)}: "
        f"nothing else in {agree(holders, 'the process', 'these processes')} can run.",
        evidence=tuple(
            line
            for holder in holders
            for line in (
                f"py-spy: {holder.thread} owns the GIL in two dumps, at the same line",
                f"in-process: {holder.silence}",
            )
        ),
    )
