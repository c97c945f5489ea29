"""The state of a run without findings, and the facts that its one sentence is made of."""

from __future__ import annotations

from typing import Literal

from dsray_inspect.agent.assemble.role_waits import main_thread
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import STALLED_S, Facts, Place, place_of
from dsray_inspect.agent.model import OK, Phase, Snapshot, VerdictState, Worker

AS_USUAL = 1.3
ACTIVE_S = 5.0
"""A training thread that has run within this time is taken to train."""
PENDING = ("pending", "restarting")
SETUP_PHASES = ("starting", "init_process_group", "deepspeed_init", "op_compile")
Pace = Literal["active", "long steps", "idle", "idle for too short", "not known"]


class JobEnded(Facts, frozen=True, kw_only=True):
    state: str
    message: str
    """What Ray's job manager says of it."""


class RunEnded(Facts, frozen=True, kw_only=True):
    state: str


class WaitingForWorkers(Facts, frozen=True, kw_only=True):
    """A run with a controller, and no workers yet."""

    controller_waits_on: str | None


class BeforeTraining(Facts, frozen=True, kw_only=True):
    """A driver that has not reached `fit()`."""

    driver_at: Place | None


class WorkersStarting(Facts, frozen=True, kw_only=True):
    starting: int
    workers: int


class RanksUnseen(Facts, frozen=True, kw_only=True):
    """Living ranks without a stack; the first of them as an example."""

    seen: int
    workers: int
    rank: int | None
    hostname: str
    pid: int
    why: str


class RanksInSetup(Facts, frozen=True, kw_only=True):
    phases: tuple[Phase, ...]


class RanksRun(Facts, frozen=True, kw_only=True):
    """When the training thread that ran last did so; 0 where that is not known."""

    pace: Pace
    workers: int
    step: int | None
    idle_s: float


def outlook(sample: AnalysisInput) -> tuple[VerdictState, Facts]:
    """Return the state and what it rests on."""
    snapshot = sample.snapshot
    run = snapshot.run

    if snapshot.job.has_ended:
        submission = sample.observation.submission
        ended = JobEnded(state=snapshot.job.state, message=submission.message if submission else "")
        return "failed" if snapshot.job.state == "FAILED" else "finished", ended

    if run is not None and run.state in ("FINISHED", "ERRORED", "ABORTED"):
        return "failed" if run.state == "ERRORED" else "finished", RunEnded(state=run.state)

    if not snapshot.workers:
        return "starting", _before_workers(sample)

    starting = [worker for worker in snapshot.workers if worker.state in PENDING]

    if starting:
        return "starting", WorkersStarting(starting=len(starting), workers=len(snapshot.workers))

    unseen = [worker for worker in snapshot.workers if _is_unseen(worker)]

    if unseen:
        return "unknown", _unseen(unseen, len(snapshot.workers))

    if any(worker.phase in SETUP_PHASES for worker in snapshot.workers):
        phases = tuple(sorted({worker.phase for worker in snapshot.workers}))
        return "starting", RanksInSetup(phases=phases)

    return _ranks_run(snapshot)


def _is_unseen(worker: Worker) -> bool:
    return worker.state in ("alive", "stopped") and worker.evidence.stack != OK


def _unseen(unseen: list[Worker], workers: int) -> RanksUnseen:
    first = unseen[0]
    return RanksUnseen(
        seen=workers - len(unseen),
        workers=workers,
        rank=first.rank,
        hostname=first.hostname,
        pid=first.pid,
        why=first.evidence.stack,
    )


def _before_workers(sample: AnalysisInput) -> Facts:
    controller = sample.snapshot.controller

    if controller is not None:
        return WaitingForWorkers(controller_waits_on=controller.waiting_on)

    thread = main_thread(sample.driver.threads)
    inside = thread.stack.user_function if thread else None
    return BeforeTraining(driver_at=place_of(inside) if inside else None)


def _ranks_run(snapshot: Snapshot) -> tuple[VerdictState, RanksRun]:
    """Judge by when each training thread last ran on a CPU."""
    idle = [worker.idle_s for worker in snapshot.workers if worker.idle_s is not None]
    steps = [worker.step for worker in snapshot.workers if worker.step is not None]
    pace = _pace(snapshot, min(idle)) if idle else "not known"
    return "healthy" if pace in ("active", "long steps") else "unknown", RanksRun(
        pace=pace,
        workers=len(snapshot.workers),
        step=max(steps, default=None),
        idle_s=min(idle, default=0.0),
    )


def _pace(snapshot: Snapshot, idle_s: float) -> Pace:
    if idle_s < ACTIVE_S:
        return "active"

    if all(_is_usual(worker) for worker in snapshot.workers):
        return "long steps"

    return "idle" if idle_s >= STALLED_S else "idle for too short"


def _is_usual(worker: Worker) -> bool:
    """Tell whether a rank has been quiet before for as long as it is now."""
    gap_s = worker.longest_gap_s
    age_s = min((entered.age_s for entered in worker.collectives), default=None)
    return gap_s is not None and age_s is not None and age_s <= gap_s * AS_USUAL
