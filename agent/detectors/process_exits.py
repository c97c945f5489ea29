"""Ranks that have ended: which was first, and why. All that follows from it is left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.train_log import (
    Failure,
    failed_attempts,
    failures,
    last_failure,
)
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.detectors.detection import Detection, Facts, Place, rank_numbers
from dsray_inspect.agent.detectors.evidence.interfaces import (
    MISSING_INTERFACE,
    MissingInterface,
    interface_of,
)
from dsray_inspect.agent.detectors.evidence.rank_index import in_state
from dsray_inspect.agent.detectors.evidence.suspects import (
    NOBODY,
    Suspects,
    gave_up,
    suspects,
)
from dsray_inspect.agent.detectors.evidence.tracebacks import SECONDARY, user_place
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.handles import ProcessExit
from dsray_inspect.agent.model import Cause, Record
from dsray_inspect.agent.sampling.node_report import PostMortem
from dsray_inspect.agent.sampling.rank_report import ControllerReport

BY_TEXT: tuple[tuple[re.Pattern[str], Cause], ...] = (
    (re.compile(r"data size doesn't match expected size"), "collective_mismatch"),
    (re.compile(r"connectFullMesh.*127\.0\.0\.1"), "network_unreachable"),
    (
        re.compile(r"DistNetworkError|No route to host|Network is unreachable"),
        "network_unreachable",
    ),
    (MISSING_INTERFACE, "network_unreachable"),
    (re.compile(r"clients joined|DistStoreError"), "rendezvous_wait"),
    (re.compile(r"out of memory|can't allocate memory|MemoryError"), "worker_oom"),
)
OWN_ENDS = ("SYSTEM_ERROR", "USER_ERROR", "NODE_OUT_OF_MEMORY")
EXIT_CODE = re.compile(r"exit code (-?\d+)")
LOG_HEAD = re.compile(r"\A\[[^\]]*\] [\w.]+:\d+: ")
DECISION_S = 15.0
"""For so long the controller may take to notice that a process has ended; it polls every 2 s."""
MOST_FRAMES = 3
MOST_NODES = 3
LONGEST_ERROR = 160
LONGEST_LINE = 200


class NodesLost(Facts, frozen=True, kw_only=True):
    hostnames: tuple[str, ...]
    node_ids: tuple[str, ...]


class MemoryFigures(Record, frozen=True, kw_only=True):
    """A node's memory as Ray's memory monitor saw it when it ended a process."""

    used_bytes: int
    limit_bytes: int
    threshold: float
    """The share of the limit above which it ends processes."""


class ProcessEnded(Facts, frozen=True, kw_only=True):
    """The first process of the group that ended by itself."""

    submission_id: str | None
    rank: int | None
    pid: int
    hostname: str
    peers: int
    kind: str
    """As in Ray's worker table."""
    detail: str
    exit_code: int | None
    was_killed_for_memory: bool
    is_in_kernel_log: bool
    stderr: tuple[str, ...]
    """The lines that say most."""
    memory: MemoryFigures | None = None
    """What Ray's memory monitor measured."""


class TrainingFailed(Facts, frozen=True, kw_only=True):
    """What some ranks' training functions raised, by Ray Train's log."""

    submission_id: str | None
    failed: tuple[int, ...]
    """Empty where the log names no rank."""
    error: str
    place: str | None
    """ "train.py:25" of the innermost frame of the user's own code."""
    frames: tuple[str, ...]
    is_first: bool
    """False where every error is the consequence of another rank's."""
    suspects: Suspects
    """Whom the errors of all ranks point at; nobody where one rank's error explains the others."""
    attempts: int = 1
    """How many failed until Ray Train gave up, as far as its log reaches back."""
    interface: MissingInterface | None = None
    """The network interface that the error is about."""


class DeadProcess(Record, frozen=True, kw_only=True):
    pid: int
    death_cause: str


class ProcessesGone(Facts, frozen=True, kw_only=True):
    """Processes that ended, nobody knows why."""

    submission_id: str | None
    processes: tuple[DeadProcess, ...]


@detector(
    causes=(
        "worker_dead",
        "worker_oom",
        "node_lost",
        "collective_mismatch",
        "network_unreachable",
        "rendezvous_wait",
        "unknown",
    )
)
def worker_dead(sample: AnalysisInput) -> list[Detection]:
    """Blame the rank that ended first by itself, else one whose error no other rank causes."""
    job = sample.snapshot.job

    if job.has_ended and job.state != "FAILED":
        return []

    dead = in_state(sample, "dead")

    if not job.has_ended and _is_retried(sample, dead):
        return []  # the run goes on with another attempt
    ended_nodes = {node.node_id for node in sample.observation.nodes if not node.alive}
    lost = [member for member in dead if member.worker.node_id in ended_nodes]

    if lost:
        return [_nodes_lost(lost)]

    ends = [end for member in dead if (end := _own_end(sample, member)) is not None]
    own = sorted(
        (end for end in ends if not gave_up(_last_words(sample, end[0]))),
        key=lambda end: end[1].ended_at or 0.0,
    )
    failed = failures(sample.observation)

    if own:
        return [_ended(sample, *own[0])]

    first = [failure for failure in failed if not _is_secondary(failure)]

    if ends and not first:
        return [_gave_up(sample, [member for member, _ in ends], failed)]

    if failed:
        pointed_at = suspects(sample, failed)
        return [_raised(sample, (first or failed)[0], is_first=bool(first), suspects=pointed_at)]

    # A controller that winds a group down by itself is no failure.
    by_itself = sample.snapshot.run is None or sample.snapshot.run.state != "RUNNING"
    return [] if by_itself or not dead or job.has_ended else [_gone(sample, dead)]


def _is_secondary(failure: Failure) -> bool:
    return bool(SECONDARY.search(failure.last_line)) or gave_up([failure.last_line])


def _is_retried(sample: AnalysisInput, dead: Sequence[RankContext]) -> bool:
    """Tell whether Ray Train starts another worker group for this one, or is about to."""
    last, controller = last_failure(sample.observation), sample.observation.controller

    if last is not None:
        return last.is_retried

    ends = [end[1].ended_at for member in dead if (end := _own_end(sample, member)) is not None]
    is_new = all(at is not None and sample.snapshot.taken_at - at < DECISION_S for at in ends)
    return isinstance(controller, ControllerReport) and controller.retries and bool(ends) and is_new


def _own_end(sample: AnalysisInput, member: RankContext) -> tuple[RankContext, ProcessExit] | None:
    """Return how a rank's process ended when nobody ended it."""
    row = sample.observation.exits.get(member.worker.worker_id)
    return (member, row) if row is not None and row.kind in OWN_ENDS else None


def _ended(sample: AnalysisInput, member: RankContext, row: ProcessExit) -> Detection:
    """One process died: killed for memory, by a signal or a crash, or by its own exit."""
    lines = _last_words(sample, member)
    in_kernel_log = member.worker.pid in _post_mortem(sample, member).oom_killed
    was_killed = row.kind == "NODE_OUT_OF_MEMORY" or in_kernel_log
    cause = "worker_oom" if was_killed else classify("\n".join(lines)) or "worker_dead"
    code = EXIT_CODE.search(row.detail)
    return Detection(
        cause=cause,
        severity="error",
        # The rank that aborts at another's size may be the one that is right.
        ranks=() if cause == "collective_mismatch" else rank_numbers([member.worker]),
        facts=ProcessEnded(
            submission_id=sample.snapshot.job.submission_id,
            rank=member.worker.rank,
            pid=row.pid,
            hostname=member.worker.hostname or member.worker.node_ip,
            peers=len(sample.members) - 1,
            kind=row.kind,
            detail=_first_sentence(row.detail),
            exit_code=int(code[1]) if code else None,
            was_killed_for_memory=was_killed,
            is_in_kernel_log=in_kernel_log,
            stderr=_most_telling(lines),
            memory=memory_figures(row.detail),
        ),
    )


def _post_mortem(sample: AnalysisInput, member: RankContext) -> PostMortem:
    report = sample.observation.node_reports.get(member.worker.node_id)
    return (report.post_mortem if report is not None else None) or PostMortem()


def _last_words(sample: AnalysisInput, member: RankContext) -> tuple[str, ...]:
    return _post_mortem(sample, member).last_words.get(member.worker.worker_id, ())


def _gave_up(
    sample: AnalysisInput, victims: Sequence[RankContext], failed: Sequence[Failure]
) -> Detection:
    """Every process that ended had waited for another rank until its group gave up."""
    pointed_at = suspects(sample, failed)
    lines = _last_words(sample, victims[0])
    return Detection(
        cause="unknown",
        severity="error",
        ranks=pointed_at.ranks,
        facts=TrainingFailed(
            submission_id=sample.snapshot.job.submission_id,
            failed=rank_numbers(member.worker for member in victims),
            error=(_most_telling(lines) or ("",))[0][:LONGEST_ERROR],
            place=None,
            frames=(),
            is_first=False,
            suspects=pointed_at,
        ),
    )


def memory_figures(detail: str) -> MemoryFigures | None:
    """Return the figures in the reason that Ray gives for ending a process."""
    if found := re.search(ray.MEMORY_EXCEEDED, detail):
        used, _, percent, limit = found.groups()
        return MemoryFigures(
            used_bytes=int(used), limit_bytes=int(limit), threshold=float(percent) / 100
        )

    if found := re.search(ray.OLDER_MEMORY_EXCEEDED, detail):
        used, limit, _, share = found.groups()
        return MemoryFigures(
            used_bytes=int(float(used) * 2**30),
            limit_bytes=int(float(limit) * 2**30),
            threshold=float(share),
        )

    return None


def classify(text: str) -> Cause | None:
    """Return the cause that an error message names."""
    return next((cause for pattern, cause in BY_TEXT if pattern.search(text)), None)


def _most_telling(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the few lines that say most, those that name a cause first, without log heads."""
    plain = [LOG_HEAD.sub("", line)[:LONGEST_LINE] for line in lines]
    known = [line for line in plain if classify(line)]
    return tuple(list(dict.fromkeys([*known, *plain[::-1]]))[:2])


def _raised(
    sample: AnalysisInput, failure: Failure, *, is_first: bool, suspects: Suspects
) -> Detection:
    """A rank's training function raised; `is_first` is False where all errors are consequences."""
    cause: Cause = classify(failure.text) or ("worker_dead" if is_first else "unknown")
    is_certain = is_first and cause != "collective_mismatch"
    pointed_at = NOBODY if is_certain else suspects
    frames = [line.strip() for line in failure.text.splitlines()]
    return Detection(
        cause=cause,
        severity="error",
        ranks=failure.ranks if is_certain else pointed_at.ranks,
        facts=TrainingFailed(
            submission_id=sample.snapshot.job.submission_id,
            failed=failure.ranks,
            error=failure.last_line[:LONGEST_ERROR],
            place=_line_of(user_place(failure.text)),
            frames=tuple(line for line in frames if line.startswith("File "))[-MOST_FRAMES:],
            is_first=is_first,
            suspects=pointed_at,
            attempts=len(failed_attempts(sample.observation)),
            interface=interface_of(sample, failure.text),
        ),
    )


def _line_of(place: Place | None) -> str | None:
    return f"{place.file}:{place.line}" if place else None


def _nodes_lost(lost: Sequence[RankContext]) -> Detection:
    return Detection(
        cause="node_lost",
        severity="error",
        ranks=rank_numbers(member.worker for member in lost),
        facts=NodesLost(
            hostnames=tuple(
                sorted({member.worker.hostname or member.worker.node_ip for member in lost})
            ),
            node_ids=tuple(dict.fromkeys(member.worker.node_id for member in lost))[:MOST_NODES],
        ),
    )


def _gone(sample: AnalysisInput, dead: Sequence[RankContext]) -> Detection:
    actors = sample.observation.actors
    rows = {row.actor_id: row for row in actors.workers} if actors else {}
    return Detection(
        cause="worker_dead",
        severity="error",
        ranks=rank_numbers(member.worker for member in dead),
        facts=ProcessesGone(
            submission_id=sample.snapshot.job.submission_id,
            processes=tuple(
                DeadProcess(
                    pid=member.worker.pid,
                    death_cause=_first_sentence(rows[member.worker.actor_id].death_cause),
                )
                for member in dead
                if member.worker.actor_id in rows
            ),
        ),
    )


def _first_sentence(text: str) -> str:
    return text.strip().partition(". ")[0][:LONGEST_LINE]
