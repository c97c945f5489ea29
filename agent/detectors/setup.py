"""Ranks that wait during set-up: the rendezvous, and locks of torch's extension compiler."""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.detectors.findings import duration, name_ranks, next_command, ranks, wait
from dsray_inspect.agent.model import Finding
from dsray_inspect.agent.stacks.phase import training_thread

FRESH_LOCK_S = 300.0
"""A compile takes up to about 200 s on a loaded machine; an older lock has lost its owner."""


def op_compile_lock(facts: Facts) -> list[Finding]:
    """Ranks in `FileBaton.wait` of a lock that nobody who is alive and compiling holds."""
    waiting = [
        member.worker
        for member in facts.members
        if any(
            frame.name == "wait" and frame.file.endswith("torch/utils/file_baton.py")
            for thread in member.seen.threads
            for frame in thread.frames
        )
    ]
    compiling = [
        member.worker
        for member in facts.members
        if member.worker.phase == "op_compile" and member.worker not in waiting
    ]

    if not waiting or compiling:
        return []

    locks = {lock["path"]: lock["age_s"] for lock in awaited(facts)}
    paths = ", ".join(sorted(locks)) or "in TORCH_EXTENSIONS_DIR (its path needs rung 2)"
    ages = [age for age in locks.values() if age is not None]
    age = f", {duration(max(ages))} old" if ages else ""
    return [
        Finding(
            cause="op_compile_lock",
            severity="error" if not ages or max(ages) > FRESH_LOCK_S else "warning",
            ranks=ranks(waiting),
            summary=(
                f"{name_ranks(ranks(waiting)).capitalize()} {wait(waiting)} for a compile lock that no rank of this run "
                f"holds: {paths}{age}."
            ),
            evidence=(
                "FileBaton.wait is on the stack of each",
                "no rank of this run is compiling",
                *(f"{path} exists" for path in sorted(locks)),
            ),
            next_step=f"rm {sorted(locks)[0]}   (once no compiler of yours runs)"
            if locks
            else next_command(facts, "stacks", ranks(waiting)),
        )
    ]


def awaited(facts: Facts) -> list[dict[str, Any]]:
    return [
        lock
        for answer in facts.answers.workers.values()
        if isinstance(answer, dict)
        for lock in answer.get("locks", ())
    ]


def in_torch_distributed(member: Member) -> bool:
    """Return whether a rank is in the rendezvous itself, not on its way there."""
    thread = training_thread(member.seen.threads)
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


def rendezvous_wait(facts: Facts) -> list[Finding]:
    """Some ranks are in init_process_group, and others have not come to it."""
    workers = facts.snapshot.workers
    joining = [one for one in facts.members if one.worker.phase == "init_process_group"]
    inside = [one.worker for one in joining if in_torch_distributed(one)]
    outside = [worker for worker in workers if worker.phase in ("starting", "init_process_group")]
    outside = [worker for worker in outside if worker not in inside]

    if not inside:
        return []

    missing = ranks(outside) or tuple(
        rank for rank in range(inside[0].world_size or 0) if rank not in ranks(workers)
    )
    who = (
        f"{name_ranks(missing)} {'has' if len(missing) == 1 else 'have'} not come to it"
        if missing
        else "all of them are in it"
    )
    return [
        Finding(
            cause="rendezvous_wait",
            severity="warning",
            ranks=missing,
            summary=f"{name_ranks(ranks(inside)).capitalize()} {wait(inside)} in init_process_group; {who}.",
            evidence=tuple(
                f"rank {worker.rank}: {worker.phase} ({worker.evidence.worker})"
                for worker in workers
            ),
            next_step=next_command(facts, "stacks", missing, "--all-threads"),
        )
    ]
