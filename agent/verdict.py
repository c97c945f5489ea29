"""From findings to one verdict. One look can prove little, and says no more than it can."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.detectors.drift import config_drift, device_conflict
from dsray_inspect.agent.detectors.findings import STALLED_S, Detector, duration
from dsray_inspect.agent.detectors.mismatch import collectives_differ
from dsray_inspect.agent.detectors.process import gil_held, stopped, unseen, worker_dead
from dsray_inspect.agent.detectors.resources import resources_pending
from dsray_inspect.agent.detectors.setup import op_compile_lock, rendezvous_wait
from dsray_inspect.agent.detectors.stall import blocked_outside_collective
from dsray_inspect.agent.model import Finding, Snapshot, Verdict, VerdictState

DETECTORS: tuple[Detector, ...] = (
    worker_dead,
    stopped,
    gil_held,
    resources_pending,
    op_compile_lock,
    blocked_outside_collective,
    collectives_differ,
    config_drift,
    device_conflict,
    rendezvous_wait,
)
"""In the order in which one explains the others."""

MOVED_S = 5.0
"""A training thread that has run within it is taken to train."""
PENDING = ("pending", "restarting")
SETUP_PHASES = ("starting", "init_process_group", "deepspeed_init", "op_compile")


def judge(facts: Facts) -> Snapshot:
    """Return the snapshot with its findings and verdict."""
    findings: list[Finding] = []
    notes = list(facts.snapshot.notes)

    for detector in DETECTORS:
        try:
            findings.extend(detector(facts))
        except Exception as error:
            notes.append(
                f"The detector {detector.__name__} failed: {type(error).__name__}: {error}"
            )

    return msgspec.structs.replace(
        facts.snapshot,
        findings=tuple(findings),
        verdict=verdict_of(facts, findings),
        notes=tuple(notes),
    )


def verdict_of(facts: Facts, findings: list[Finding]) -> Verdict:
    errors = [finding for finding in findings if finding.severity == "error"]

    for first in (*errors[:1], *findings[:1]):
        return Verdict(
            state=state_for(first),
            cause=first.cause,
            ranks=first.ranks,
            summary=first.summary,
        )

    state, summary = state_without_findings(facts)
    return Verdict(state=state, cause=None, ranks=(), summary=summary)


def state_for(finding: Finding) -> VerdictState:
    if finding.cause == "worker_dead":
        return "failed"

    if finding.cause in ("rendezvous_wait", "resources_pending"):
        return "starting"

    return "hung" if finding.severity == "error" and finding.cause != "config_drift" else "degraded"


def state_without_findings(facts: Facts) -> tuple[VerdictState, str]:
    snapshot = facts.snapshot
    blind = unseen(facts)

    if snapshot.job.has_ended:
        return ending_of(facts)

    if snapshot.run is not None and snapshot.run.state in ("FINISHED", "ERRORED", "ABORTED"):
        ended = "failed" if snapshot.run.state == "ERRORED" else "finished"
        return ended, f"The run has ended: {snapshot.run.state}."  # type: ignore[return-value]

    if not snapshot.workers:
        waiting = snapshot.controller.waiting_on if snapshot.controller else None
        return (
            "starting",
            f"No workers yet; the controller waits on {waiting or 'nothing it tells'}.",
        )

    pending = [worker for worker in snapshot.workers if worker.state in PENDING]

    if pending:
        return "starting", f"{len(pending)} of {len(snapshot.workers)} workers are being started."

    if blind:
        seen = len(snapshot.workers) - len(blind)
        return "unknown", f"{seen} of {len(snapshot.workers)} ranks seen: {blind[0]}."

    if any(worker.phase in SETUP_PHASES for worker in snapshot.workers):
        phases = sorted({worker.phase for worker in snapshot.workers})
        return "starting", f"The ranks are in set-up: {', '.join(phases)}."

    return moving(snapshot)


def ending_of(facts: Facts) -> tuple[VerdictState, str]:
    """Judge a job that has ended by what Ray's job manager says of it."""
    job, submission = facts.snapshot.job, facts.answers.submission

    if job.state == "FAILED":
        return "failed", f"The job has failed: {submission.message if submission else ''}"

    how = {"SUCCEEDED": "The job has succeeded.", "STOPPED": "The job was stopped."}
    return "finished", how.get(job.state, "The job has ended.")


def moving(snapshot: Snapshot) -> tuple[VerdictState, str]:
    """Judge by when each training thread last ran on a CPU."""
    idle = [worker.idle_s for worker in snapshot.workers if worker.idle_s is not None]

    if not idle:
        return "unknown", "Every rank was seen, but /proc does not tell when they last moved."

    if min(idle) >= STALLED_S:
        return (
            "unknown",
            f"No rank has moved for {duration(min(idle))}, for no cause that one look shows.",
        )

    if min(idle) >= MOVED_S:
        return (
            "unknown",
            f"No rank has run for {duration(min(idle))}: too short to call it hung. Look again.",
        )

    steps = [worker.step for worker in snapshot.workers if worker.step is not None]
    step = f" at step {max(steps)}" if steps else ""
    return "healthy", f"{len(snapshot.workers)} ranks{step}; last moved {duration(min(idle))} ago."
