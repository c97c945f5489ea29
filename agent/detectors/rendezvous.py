"""Ranks that wait during set-up: the rendezvous, and locks of torch's extension compiler."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.activity import motion_of
from dsray_inspect.agent.detectors.evidence.rank_index import in_phase
from dsray_inspect.agent.detectors.findings import duration, name_ranks, next_command, ranks, wait
from dsray_inspect.agent.detectors.process_groups import LATE_S, elsewhere
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import OK, Finding, Worker
from dsray_inspect.agent.remote.locks import is_compiler
from dsray_inspect.agent.sampling.rank_report import CompileLock

FRESH_LOCK_S = 300.0
"""A compile takes up to about 200 s on a loaded machine; an older lock has lost its owner."""
NO_BUILDER_S = 5.0
"""Where no compiler runs on the node, a lock of that age is nobody's."""
AGREED = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")
"""What all ranks must believe alike for a rendezvous to come about."""


@detector(causes=("op_compile_slow",), after=("op_compile_lock",))
def op_compile_slow(facts: AnalysisInput) -> list[Finding]:
    """A rank compiles one of DeepSpeed's ops, and its peers wait for the result or for the rank."""
    compiling = [
        member
        for member in in_phase(facts, "op_compile")
        if not in_lock(member) and builders_of(member)
    ]

    if not compiling:
        return []

    numbers = ranks(member.worker for member in compiling)
    busy = set(numbers)
    others = ranks(one.worker for one in facts.members if one.worker.rank not in busy)
    return [
        Finding(
            cause="op_compile_slow",
            severity="warning",
            ranks=numbers,
            summary=f"{name_ranks(numbers).capitalize()} "
            f"{'compiles' if len(numbers) == 1 else 'compile'} an op of DeepSpeed"
            + (f"; {name_ranks(others)} wait." if others else "."),
            evidence=tuple(
                f"rank {one.worker.rank}: children {', '.join(builders_of(one)[:4])}"
                for one in compiling
            ),
            next_step="keep TORCH_EXTENSIONS_DIR, or build the op into the image (DS_BUILD_…=1)",
        )
    ]


def builders_of(member: RankContext) -> list[str]:
    names = (child.name for child in member.child_processes)
    return [name for name in names if is_compiler(name)]


def in_lock(member: RankContext) -> bool:
    return any(thread.stack.lock_wait for thread in member.seen.threads)


@detector(causes=("op_compile_lock",), after=("driver_blocked",))
def op_compile_lock(facts: AnalysisInput) -> list[Finding]:
    """Ranks in `FileBaton.wait` of a lock that nobody who is alive and compiling holds."""
    compiling = in_phase(facts, "op_compile")  # whoever waits for a lock is in it too
    waiting = [member.worker for member in compiling if in_lock(member)]

    if not waiting or len(waiting) < len(compiling):
        return []

    found = awaited(facts)
    locks = {lock.path: lock.age_s for lock in found}
    builders = max((lock.builders for lock in found), default=0)
    paths = ", ".join(sorted(locks)) or "in TORCH_EXTENSIONS_DIR (its path needs rung 2)"
    ages = [age for age in locks.values() if age is not None]
    age = f", {duration(max(ages))} old" if ages else ""
    is_stale = not ages or max(ages) > FRESH_LOCK_S or (not builders and max(ages) > NO_BUILDER_S)
    return [
        Finding(
            cause="op_compile_lock",
            severity="error" if is_stale else "warning",
            ranks=ranks(waiting),
            summary=(
                f"{name_ranks(ranks(waiting)).capitalize()} {wait(waiting)} for a compile lock "
                f"that no rank of this run holds: {paths}{age}."
            ),
            evidence=(
                "FileBaton.wait is on the stack of each",
                "no rank of this run is compiling",
                f"{builders or 'no'} compiler{'' if builders == 1 else 's'} on the node",
                *(f"{path} exists" for path in sorted(locks)),
            ),
            next_step=f"rm {sorted(locks)[0]}   (once no compiler of yours runs)"
            if locks
            else next_command(facts, "stacks", ranks(waiting)),
        )
    ]


def awaited(facts: AnalysisInput) -> list[CompileLock]:
    return [lock for member in facts.members for lock in member.locks]


def in_torch_distributed(member: RankContext) -> bool:
    """Return whether a rank is in the rendezvous itself, not on its way there."""
    thread = member.training
    return (
        thread is not None
        and thread.frames[-1:] != ()
        and thread.frames[-1].layer
        in (
            "collective",
            "torch",
            "native",
        )
    )


@detector(
    causes=(
        "rendezvous_wait",
        "rank_blocked_in_user_code",
        "data_stall",
        "checkpoint_stall",
        "object_wait",
        "straggler",
        "rank_divergence",
    ),
    after=("op_compile_slow",),
)
def rendezvous_wait(facts: AnalysisInput) -> list[Finding]:
    """Some ranks are in init_process_group, and others have not come to it, or not to this one."""
    joining = in_phase(facts, "init_process_group")
    inside = [one for one in joining if in_torch_distributed(one)]

    if not inside:
        return []

    different = disagreement(facts)

    if different is not None:
        return [different]

    return elsewhere(facts, inside) or [missing(facts, inside)]


def disagreement(facts: AnalysisInput) -> Finding | None:
    """Return a finding where ranks dial different places or count differently."""
    for name in AGREED:
        values: dict[str, list[int]] = {}

        for member in facts.members:
            if name in member.worker.env and member.worker.rank is not None:
                values.setdefault(member.worker.env[name].value, []).append(member.worker.rank)

        if len(values) > 1:
            usual = max(values, key=lambda value: len(values[value]))
            odd = sorted(rank for value in values if value != usual for rank in values[value])
            apart = ", ".join(f"{name_ranks(held)}: {value}" for value, held in values.items())
            return Finding(
                cause="rendezvous_wait",
                severity="error",
                ranks=tuple(odd),
                summary=f"{name_ranks(odd).capitalize()} "
                f"{'has' if len(odd) == 1 else 'have'} another {name} than the others: {apart}.",
                evidence=(f"{name}: {apart}", *phases(facts)),
                next_step=next_command(facts, "env", odd),
            )

    return None


def missing(facts: AnalysisInput, inside: Sequence[RankContext]) -> Finding:
    here = [member.worker for member in inside]
    entered, present = set(ranks(here)), set(ranks(facts.snapshot.workers))
    outside = [
        member
        for member in facts.members
        if member.worker.state == "alive"
        and member.worker.phase != "finished"
        and member.worker.rank not in entered
    ]
    numbers = ranks(one.worker for one in outside) or tuple(
        rank for rank in range(believed_size(here)) if rank not in present
    )
    who = (
        f"{name_ranks(numbers)} {'has' if len(numbers) == 1 else 'have'} not come to it"
        if numbers
        else "all of them are in it"
    )
    stuck = bool(numbers) and (not outside or all(is_stuck(facts, one) for one in outside))
    waited_s = max((one.idle_s or 0.0 for one in here), default=0.0)
    return Finding(
        cause="rendezvous_wait",
        severity="error" if stuck and waited_s >= LATE_S else "warning",
        ranks=numbers,
        summary=f"{name_ranks(ranks(here)).capitalize()} {wait(here)} in init_process_group; {who}.",
        evidence=phases(facts),
        next_step=next_command(facts, "stacks", numbers, "--all-threads"),
    )


def believed_size(workers: Sequence[Worker]) -> int:
    """Return the world size that the ranks themselves go by."""
    sizes = [int(one.env["WORLD_SIZE"].value) for one in workers if "WORLD_SIZE" in one.env]
    return max((*sizes, *(one.world_size or 0 for one in workers)), default=0)


def is_stuck(facts: AnalysisInput, member: RankContext) -> bool:
    motion = motion_of(facts, member)
    return motion is not None and motion.is_still and member.worker.function is not None


def phases(facts: AnalysisInput) -> tuple[str, ...]:
    return tuple(
        f"rank {worker.rank}: {worker.phase}"
        + (f", {worker.function.name}" if worker.function else "")
        + (f" ({worker.evidence.worker})" if worker.evidence.worker != OK else "")
        for worker in facts.snapshot.workers
    )
