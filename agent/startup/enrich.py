"""Puts a run's start, and what that and Ray cost, into its snapshot."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dsray_inspect.agent.launchers.start import S
from dsray_inspect.agent.model import OK, DeepSpeed, InitPhase, Phase, Snapshot, Worker
from dsray_inspect.agent.sampling.rank_report import OpBuild
from dsray_inspect.agent.startup.costs import costs_of, trains_since
from dsray_inspect.agent.startup.phases import ONLY_SUBMIT, startup_of
from dsray_inspect.agent.startup.ranks import RankStart
from dsray_inspect.agent.startup.reader import Read

_BEFORE_TRAINING: tuple[Phase, ...] = ("starting", "init_process_group", "unknown")
_BEFORE_STEPS: tuple[Phase, ...] = (*_BEFORE_TRAINING, "deepspeed_init", "op_compile")


def trains(snapshot: Snapshot) -> bool:
    """Return whether a rank is in its training function, or was."""
    return snapshot.job.has_ended or any(
        worker.step or worker.phase not in _BEFORE_TRAINING for worker in snapshot.workers
    )


def is_over(snapshot: Snapshot) -> bool:
    """Return whether every rank is past DeepSpeed's set-up, or the job is over."""
    return snapshot.job.has_ended or (
        bool(snapshot.workers)
        and all(worker.step or worker.phase not in _BEFORE_STEPS for worker in snapshot.workers)
    )


def with_start(snapshot: Snapshot, read: Read | None) -> Snapshot:
    """Return the snapshot with `startup`, `costs` and `workers[].deepspeed.init`."""
    if read is None:
        return snapshot

    ranks = list(read.ranks.values())
    now_ns = round(snapshot.taken_at * S)
    knows_end = not ranks and trains(snapshot)
    startup = startup_of(
        read.marks,
        ranks,
        now_ns=None if is_over(snapshot) or knows_end else now_ns,
        notes=read.notes,
    )
    costs = costs_of(
        startup,
        read.facts,
        ranks,
        None if not read.builds else [build for builds in read.builds.values() for build in builds],
        list(read.train_s.values()),
        trains_since_ns=None if snapshot.job.has_ended else trains_since(read.marks, ranks),
        now_ns=now_ns,
    )
    return msgspec.structs.replace(
        snapshot,
        startup=startup,
        costs=costs,
        workers=tuple(_with_init(worker, read) for worker in snapshot.workers),
    )


def _with_init(worker: Worker, read: Read) -> Worker:
    """Return a rank with what is known of DeepSpeed's set-up, and whether that is all."""
    recorded = read.ranks.get(worker.actor_id)
    phases, why = _phases_of(recorded, read.builds.get(worker.actor_id))

    # Its own record is read inside the rank: whether there is one is not known without an answer.
    if recorded is None and worker.evidence.worker != OK:
        why = f"what it may have recorded was not read: {worker.evidence.worker}"

    engine: DeepSpeed | None = worker.deepspeed

    if engine is not None and phases:
        engine = msgspec.structs.replace(engine, init=phases)

    evidence = msgspec.structs.replace(worker.evidence, init=why)
    return msgspec.structs.replace(worker, deepspeed=engine, evidence=evidence)


def _phases_of(
    recorded: RankStart | None, built: Sequence[OpBuild] | None
) -> tuple[tuple[InitPhase, ...], str]:
    if recorded is not None:
        return recorded.phases(), OK

    compiled = tuple(
        InitPhase(phase=f"op_compile:{build.name}", seconds=build.seconds)
        for build in built or ()
        if build.in_this_process
    )
    return compiled, f"op compiles only: {ONLY_SUBMIT}" if compiled else ONLY_SUBMIT
