"""Ranks that have ended."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.evidence.interfaces import MissingInterface
from dsray_inspect.agent.detectors.process_exits import (
    MemoryFigures,
    NodesLost,
    ProcessEnded,
    ProcessesGone,
    TrainingFailed,
)
from dsray_inspect.agent.model import Cause, EnvSource
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, name_ranks, sentence, size

RAISED: dict[Cause, str] = {
    "collective_mismatch": "met a collective whose size differs from {its} peers'",
    "network_unreachable": "could not reach the other ranks",
    "rendezvous_wait": "waited in vain for the other ranks",
    "worker_oom": "ran out of memory",
}
"""What a rank did whose error names the cause."""
EITHER_SIDE = (
    "which rank is wrong is not known: whoever meets another size aborts, the rank that is right too; "
    "in a new run, `why` before it fails shows where each rank is"
)
SOURCES: dict[EnvSource, str] = {
    "runtime_env": "the job's runtime_env",
    "ray": "Ray",
    "ray_train": "Ray Train",
    "deepspeed": "DeepSpeed",
    "user_code": "your code",
    "inherited": "the node's own environment",
}


@words.register
def process_ended(facts: ProcessEnded, detection: Detection) -> Words:
    who = name_ranks([facts.rank]) if facts.rank is not None else "a rank"
    rest = agree(facts.peers, "the other rank", "the other ranks")
    consequence = f"; {rest} failed as a result" if facts.peers else ""
    return Words(
        summary=f"{sentence(who)} (pid {facts.pid} on {facts.hostname}) "
        f"{_how(facts, detection.cause)}{consequence}.",
        evidence=(
            *([_memory_line(facts.memory)] if facts.memory else []),
            *([EITHER_SIDE] if detection.cause == "collective_mismatch" else []),
            f"Ray's worker table: {facts.kind}, the first of the group: {facts.detail}",
            *(f"its stderr: {line}" for line in facts.stderr),
            *(
                [f"the kernel's log: pid {facts.pid} was killed for memory (OOM)"]
                if facts.is_in_kernel_log
                else []
            ),
        ),
        next_step=_logs(facts.submission_id),
    )


def _memory_line(memory: MemoryFigures) -> str:
    return (
        f"Ray's memory monitor: {size(memory.used_bytes)} of {size(memory.limit_bytes)} used on the "
        f"node, above its threshold of {memory.threshold:.0%}"
    ).replace("%", " %")


def _how(facts: ProcessEnded, cause: Cause) -> str:
    if facts.was_killed_for_memory:
        return "was killed because memory ran out"

    if cause == "collective_mismatch":
        return "aborted on a collective whose size differs from its peers'"

    if cause == "worker_oom":
        return "ran out of memory"

    if facts.exit_code is not None:
        return f"exited with code {facts.exit_code}"

    return "died" if facts.stderr else "died without an error message"


@words.register
def training_failed(facts: TrainingFailed, detection: Detection) -> Words:
    failed = facts.failed
    who = sentence(name_ranks(failed)) if failed else "The run"
    how = RAISED.get(detection.cause, "raised an exception" if failed else "failed")
    how = how.format(its=agree(failed, "its", "their"))
    place = f" at {facts.place}" if facts.place else ""
    interface = interface_lines(facts.interface) if facts.interface else ()
    summary = f"{who} {how}{place}: {facts.error}"
    return Words(
        summary=f"{summary} ({interface[0]})" if interface else f"{summary}{_suspicion(facts)}",
        evidence=(
            *interface,
            f"Ray Train's controller: {facts.error}",
            *([f"Ray Train gave up after {facts.attempts} attempts"] if facts.attempts > 1 else []),
            *(f"traceback: {line}" for line in facts.frames),
            *_why_suspected(facts),
        ),
        next_step=_logs(facts.submission_id),
    )


def _suspicion(facts: TrainingFailed) -> str:
    """Return whom the errors point at, as a second sentence; empty where one explains the others."""
    ranks, place = facts.suspects.ranks, facts.suspects.place

    if ranks:
        are = agree(ranks, "is", "are")
        at = f", at {place}" if place else ""
        return f"{_dot(facts.error)} {sentence(name_ranks(ranks))} {are} suspected{at}."

    if facts.is_first:
        return ""

    return f"{_dot(facts.error)} Every error is another rank's consequence: nobody can know whose."


def _dot(text: str) -> str:
    return "" if text.endswith((".", "!")) else "."


def _why_suspected(facts: TrainingFailed) -> tuple[str, ...]:
    if facts.suspects.because is None:
        return () if facts.is_first else ("every rank's error is the consequence of another's",)

    ranks = facts.suspects.ranks
    who, is_only = name_ranks(ranks), agree(ranks, "is the only rank", "are the only ranks")
    has, own = agree(ranks, "has", "have"), agree(ranks, "its", "their")
    return {
        "silent": (f"{who} {has} no error; {own} peers waited until they gave up",),
        "last": (f"{who} had entered fewer collectives than all others when the group gave up",),
        "elsewhere": (f"{who} {is_only} whose error is at {facts.suspects.place}",),
    }[facts.suspects.because]


def interface_lines(interface: MissingInterface) -> tuple[str, ...]:
    """Return which interface is missing and why it was looked for, and those that are there."""
    there = ", ".join(interface.interfaces) or "not known"

    if interface.variable is None:
        what = f"no interface is called {interface.name}" if interface.name else "no interface fits"
        return what, f"the node's interfaces: {there}"

    setter = SOURCES.get(interface.source or "inherited", interface.source)
    return (
        f"{interface.variable}={interface.value} names no interface of the node",
        f"{interface.variable} was set by {setter}; the node's interfaces: {there}",
    )


@words.register
def nodes_lost(facts: NodesLost, detection: Detection) -> Words:
    hosts = facts.hostnames
    return Words(
        summary=f"{agree(hosts, 'Node', 'Nodes')} {', '.join(hosts)} {agree(hosts, 'is', 'are')} "
        f"gone, and {name_ranks(detection.ranks)} with {agree(hosts, 'it', 'them')}.",
        evidence=tuple(f"Ray's node table: {node_id[:8]} is dead" for node_id in facts.node_ids),
        next_step="ray status",
    )


@words.register
def processes_gone(facts: ProcessesGone, detection: Detection) -> Words:
    ranks = detection.ranks
    return Words(
        summary=f"The {agree(ranks, 'process', 'processes')} of {name_ranks(ranks)} "
        f"{agree(ranks, 'is', 'are')} dead.",
        evidence=tuple(
            f"pid {process.pid}: {process.death_cause or 'gone'}" for process in facts.processes
        ),
        next_step=_logs(facts.submission_id),
    )


def _logs(submission_id: str | None) -> str | None:
    """Return the command for the job's log, None where only its snapshot can be had."""
    return f"ray job logs {submission_id}" if submission_id else None
