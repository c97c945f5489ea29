"""Ranks whose process is not well: dead, stopped, or with its GIL held."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, ranks
from dsray_inspect.agent.model import OK, Finding


def worker_dead(facts: Facts) -> list[Finding]:
    dead = [member.worker for member in facts.members if member.worker.state == "dead"]

    if not dead or facts.snapshot.job.has_ended:
        return []

    rows = (
        {row.actor_id: row for row in facts.answers.actors.workers} if facts.answers.actors else {}
    )
    causes = tuple(
        f"pid {worker.pid}: {rows[worker.actor_id].death_cause or 'its process is gone'}"[:300]
        for worker in dead
        if worker.actor_id in rows
    )
    return [
        Finding(
            cause="worker_dead",
            severity="error",
            ranks=ranks(dead),
            summary=f"The process of {name_ranks(ranks(dead))} is dead.",
            evidence=causes,
            next_step=f"ray job logs {facts.snapshot.job.submission_id or facts.snapshot.job.job_id}",
        )
    ]


def stopped(facts: Facts) -> list[Finding]:
    """A process in state T. No cause code stands for it, so the code is honest: unknown."""
    frozen = [member.worker for member in facts.members if member.worker.state == "stopped"]
    return [
        Finding(
            cause="unknown",
            severity="error",
            ranks=ranks([worker]),
            summary=f"Rank {worker.rank} is stopped (SIGSTOP or a debugger): its peers wait for it.",
            evidence=(f"pid {worker.pid} on {worker.hostname} is in state T",),
            next_step=f"kill -CONT {worker.pid}   (on {worker.hostname})",
        )
        for worker in frozen
    ]


def gil_held(facts: Facts) -> list[Finding]:
    """The main thread gives no answer while another keeps the GIL, at one place in two dumps."""
    found = []

    for member in facts.members:
        keeper = member.seen.gil_keeper
        silent = "did not answer" in member.worker.evidence.worker

        if keeper is None or not silent:
            continue

        inner = keeper.frames[-1]
        where = f"{inner.name} ({inner.file.rpartition('/')[2]}:{inner.line})"
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


def unseen(facts: Facts) -> list[str]:
    """Return one sentence for each living rank of which no stack could be had."""
    return [
        f"{name_ranks(ranks([worker]))} on {worker.hostname}, pid {worker.pid}: {worker.evidence.stack}"
        for worker in facts.snapshot.workers
        if worker.state in ("alive", "stopped") and worker.evidence.stack != OK
    ]
