"""From findings to one verdict. One look can prove little, and says no more than it can."""

from __future__ import annotations

from typing import Final

import msgspec

from dsray_inspect.agent.assemble.role_waits import main_thread
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.causes import spec_of
from dsray_inspect.agent.detectors.findings import STALLED_S, duration, place_of
from dsray_inspect.agent.detectors.registry import registered
from dsray_inspect.agent.detectors.stopped_and_gil import unseen
from dsray_inspect.agent.graph import graph_of
from dsray_inspect.agent.model import Finding, Snapshot, Verdict, VerdictState, WaitGraph, Worker

DETECTORS: Final = registered()

AS_USUAL = 1.3
MOVED_S = 5.0
"""A training thread that has run within it is taken to train."""
PENDING = ("pending", "restarting")
SETUP_PHASES = ("starting", "init_process_group", "deepspeed_init", "op_compile")


def judge(facts: AnalysisInput) -> Snapshot:
    """Return the snapshot with its findings and verdict."""
    findings: list[Finding] = []
    notes = list(facts.snapshot.notes)

    for detector in DETECTORS:
        try:
            findings.extend(detector.detect(facts))
        except Exception as error:
            notes.append(f"The detector {detector.name} failed: {type(error).__name__}: {error}")

    graph = WaitGraph()

    try:
        graph = graph_of(facts)
    except Exception as error:
        notes.append(f"The wait-for graph failed: {type(error).__name__}: {error}")

    return msgspec.structs.replace(
        facts.snapshot,
        graph=graph,
        findings=tuple(findings),
        verdict=verdict_of(facts, findings),
        notes=tuple(notes),
    )


def verdict_of(facts: AnalysisInput, findings: list[Finding]) -> Verdict:
    errors = [finding for finding in findings if finding.severity == "error"]

    for first in (*errors[:1], *findings[:1]):
        return Verdict(
            state=state_for(facts, first),
            cause=first.cause,
            ranks=first.ranks,
            summary=first.summary,
        )

    state, summary = state_without_findings(facts)
    return Verdict(state=state, cause=None, ranks=(), summary=summary)


def state_for(facts: AnalysisInput, finding: Finding) -> VerdictState:
    if facts.snapshot.job.has_ended or spec_of(finding.cause).ends_run or not_alive(facts, finding):
        return "failed"

    if finding.cause == "resources_pending" or (
        finding.severity != "error" and spec_of(finding.cause).in_setup
    ):
        return "starting"

    return "hung" if finding.severity == "error" and finding.cause != "config_drift" else "degraded"


def not_alive(facts: AnalysisInput, finding: Finding) -> bool:
    """Tell whether a finding speaks of a group that has ended."""
    workers = facts.snapshot.workers
    return bool(workers) and finding.severity == "error" and all(w.state == "dead" for w in workers)


def state_without_findings(facts: AnalysisInput) -> tuple[VerdictState, str]:
    snapshot = facts.snapshot
    blind = unseen(facts)

    if snapshot.job.has_ended:
        return ending_of(facts)

    if snapshot.run is not None and snapshot.run.state in ("FINISHED", "ERRORED", "ABORTED"):
        ended = "failed" if snapshot.run.state == "ERRORED" else "finished"
        return ended, f"The run has ended: {snapshot.run.state}."  # type: ignore[return-value]

    if not snapshot.workers:
        return "starting", before_workers(facts)

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


def before_workers(facts: AnalysisInput) -> str:
    """Tell what a run without workers waits on."""
    controller = facts.snapshot.controller

    if controller is not None:
        waits = controller.waiting_on or "nothing it tells"
        return f"No workers yet; the controller waits on {waits}."

    thread = main_thread(facts.driver.threads)
    inside = thread.stack.user_function if thread else None
    where = f" is in {place_of(inside)} and" if inside else ""
    return f"No workers yet: the driver{where} has not come to fit()."


def ending_of(facts: AnalysisInput) -> tuple[VerdictState, str]:
    """Judge a job that has ended by what Ray's job manager says of it."""
    job, submission = facts.snapshot.job, facts.observation.submission

    if job.state == "FAILED":
        return "failed", f"The job has failed: {submission.message if submission else ''}"

    how = {"SUCCEEDED": "The job has succeeded.", "STOPPED": "The job was stopped."}
    return "finished", how.get(job.state, "The job has ended.")


def is_usual(worker: Worker) -> bool:
    """Tell whether a rank has been quiet before for as long as it is now."""
    gap_s, age_s = worker.longest_gap_s, min((c.age_s for c in worker.collectives), default=None)
    return gap_s is not None and age_s is not None and age_s <= gap_s * AS_USUAL


def moving(snapshot: Snapshot) -> tuple[VerdictState, str]:
    """Judge by when each training thread last ran on a CPU."""
    idle = [worker.idle_s for worker in snapshot.workers if worker.idle_s is not None]

    if not idle:
        return "unknown", "Every rank was seen, but /proc does not tell when they last moved."

    if min(idle) >= MOVED_S and all(is_usual(worker) for worker in snapshot.workers):
        return "healthy", (
            f"{len(snapshot.workers)} ranks, with long steps; last moved {duration(min(idle))} ago."
        )

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
