"""The state of a run without findings, and the facts that its one sentence is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from dsray_inspect.agent.assemble.role_waits import main_thread
from dsray_inspect.agent.assemble.snapshot import RUN_ENDINGS, AnalysisInput
from dsray_inspect.agent.assemble.train_log import failed_attempts, last_failure
from dsray_inspect.agent.detectors.detection import (
    Facts,
    Place,
    Where,
    place_of,
    rank_numbers,
)
from dsray_inspect.agent.detectors.evidence.activity import Activity
from dsray_inspect.agent.detectors.evidence.blocked_in import where
from dsray_inspect.agent.detectors.evidence.progress import (
    Pace,
    RankPace,
    paces,
    wait_in_vain,
)
from dsray_inspect.agent.model import OK, Phase, VerdictState, Worker
from dsray_inspect.agent.model.vocabulary import SETUP_PHASES
from dsray_inspect.agent.sampling.rank_report import ControllerReport

LONGEST_ERROR = 160
PENDING = ("pending", "restarting")
How = Literal[
    "advance",
    "work",
    "not begun",
    "is still",
    "works for long",
    "wait in vain",
    "not measured",
    "not known",
    "are done",
]
"""What is true of the ranks that the outlook rests on."""


class JobEnded(Facts, frozen=True, kw_only=True):
    state: str
    message: str
    """What Ray's job manager says of it."""


class RunRetried(Facts, frozen=True, kw_only=True):
    """A run whose newest attempt failed, and that Ray Train starts again."""

    attempt: int
    error: str | None
    """None where Ray Train has not told yet."""
    ended: int = 0
    """How many processes of the last attempt have ended."""


class RunEnded(Facts, frozen=True, kw_only=True):
    """A run that has ended in a job that has not."""

    state: str
    driver_at: Place | None = None


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
    """Ranks past their set-up, by the progress they make."""

    how: How
    workers: int
    ranks: tuple[int, ...]
    """Those of which `how` is true."""
    place: Where | None
    """Where most of them are."""
    step: int | None
    since_s: float | None
    """Since their last step or collective, None where none is known."""
    usual_s: float | None
    """The longest time that they went without a collective of late."""
    activity: Activity | None
    why: str
    """Why the recorder of one of them was not read; empty where all were."""


def outlook(sample: AnalysisInput) -> tuple[VerdictState, Facts]:
    """Return the state and what it rests on."""
    snapshot = sample.snapshot
    run = snapshot.run

    if snapshot.job.has_ended:
        submission = sample.observation.submission
        ended = JobEnded(state=snapshot.job.state, message=submission.message if submission else "")
        return "failed" if snapshot.job.state == "FAILED" else "finished", ended

    if run is not None and run.state in RUN_ENDINGS:
        return "failed" if run.state == "ERRORED" else "finished", RunEnded(
            state=run.state, driver_at=_driver_at(sample)
        )

    if (retried := _retried(sample)) is not None:
        return "starting", retried

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

    return _ranks_run(sample)


def _retried(sample: AnalysisInput) -> RunRetried | None:
    """Return the attempt that Ray Train is about to start, None where it is not."""
    last, failed = last_failure(sample.observation), failed_attempts(sample.observation)

    if last is not None:
        error = last.failures[0].last_line[:LONGEST_ERROR]
        return RunRetried(attempt=len(failed) + 1, error=error) if last.is_retried else None

    ended = sum(worker.state == "dead" for worker in sample.snapshot.workers)
    controller = sample.observation.controller

    if not ended or not isinstance(controller, ControllerReport) or not controller.retries:
        return None

    return RunRetried(attempt=(controller.failures or 0) + 2, error=None, ended=ended)


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

    return BeforeTraining(driver_at=_driver_at(sample))


def _driver_at(sample: AnalysisInput) -> Place | None:
    thread = main_thread(sample.driver.threads)
    inside = thread.stack.user_function if thread else None
    return place_of(inside) if inside else None


def _ranks_run(sample: AnalysisInput) -> tuple[VerdictState, RanksRun]:
    """Judge by whether each rank makes progress, the most doubtful ranks first."""
    seen = paces(sample)
    by_pace: dict[Pace, list[RankPace]] = {}

    for rank in seen:
        by_pace.setdefault(rank.pace, []).append(rank)

    for pace in ("is still", "works for long"):
        if pace in by_pace:
            return "unknown", _ranks_in(sample, pace, by_pace[pace])

    in_vain = wait_in_vain(sample)

    if in_vain:
        return "unknown", _ranks_in(sample, "wait in vain", in_vain)

    if "not known" in by_pace:
        return "unknown", _ranks_in(sample, "not known", by_pace["not known"])

    if "works" in by_pace and "advances" not in by_pace:
        return _at_work(sample, by_pace["works"])

    if "advances" in by_pace:
        return "healthy", _ranks_in(sample, "advance", by_pace["advances"])

    return "unknown", _ranks_in(sample, "are done" if seen else "not known", seen)


def _at_work(sample: AnalysisInput, ranks: Sequence[RankPace]) -> tuple[VerdictState, RanksRun]:
    """No rank has advanced of late, and these compute."""
    if any(rank.since_s is not None for rank in ranks):
        return "healthy", _ranks_in(sample, "work", ranks)

    if all(_could_tell(rank.member.worker) for rank in ranks):
        return "starting", _ranks_in(sample, "not begun", ranks)

    return "unknown", _ranks_in(sample, "not measured", ranks)


def _could_tell(worker: Worker) -> bool:
    """Tell whether a rank that has made progress would show it."""
    is_alone = worker.world_size == 1 and worker.deepspeed is None
    return worker.evidence.collectives == OK and not is_alone and not worker.step


def _ranks_in(sample: AnalysisInput, how: How, ranks: Sequence[RankPace]) -> RanksRun:
    workers = [rank.member.worker for rank in ranks]
    places = Counter(where(rank.member) for rank in ranks).most_common(1)
    since = [rank.since_s for rank in ranks if rank.since_s is not None]
    steps = [worker.step for worker in sample.snapshot.workers if worker.step is not None]
    return RanksRun(
        how=how,
        workers=len(sample.snapshot.workers),
        ranks=rank_numbers(workers),
        place=places[0][0] if places else None,
        step=max(steps, default=None),
        since_s=(min if how == "advance" else max)(since, default=None),
        usual_s=max((rank.usual_s for rank in ranks if rank.usual_s is not None), default=None),
        activity=next((rank.activity for rank in ranks), None),
        why=next(
            (
                worker.evidence.collectives
                for worker in workers
                if worker.evidence.collectives != OK
            ),
            "",
        ),
    )
