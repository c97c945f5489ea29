"""Counters over the samples of one run: steps, seconds in phases, waits, pauses.

The time since the previous sample is attributed to the state that the new sample finds. Nothing is
counted across failed samples.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from dsray_inspect.agent.model import Snapshot, Worker
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.exporters.metrics import STEP_BUCKETS_S

UNNAMED_SAMPLES = 5
"""After how many samples without the run's id the job's id takes its place."""


class RankCounters(msgspec.Struct, kw_only=True):
    """Counters of one rank, over all processes it has had."""

    actor_id: str = ""
    step: int | None = None
    steps: int = 0
    last_step_at: float | None = None
    wait_s: float = 0.0
    paused_s: float = 0.0
    phase_s: dict[str, float] = msgspec.field(default_factory=dict)


class StepDurations(msgspec.Struct, kw_only=True):
    """A histogram of step times."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(STEP_BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, step_s: float, times: int) -> None:
        self.counts[bisect_left(STEP_BUCKETS_S, step_s)] += times
        self.sum_s += step_s * times

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Yield the upper bound of each bucket and the number of steps at or below it."""
        below = 0

        for bound, count in zip((*STEP_BUCKETS_S, float("inf")), self.counts, strict=True):
            below += count
            yield ("+Inf" if bound == float("inf") else repr(bound)), below


class RunCounters:
    """Counters of one run while it is watched."""

    def __init__(self) -> None:
        self.run_id = ""
        """Empty until it is known: a series must not be renamed because it was exported too early."""
        self.restarts = 0
        self._own_id: tuple[str, str] | None = None
        """The job and the run's own id, once the controller has reported it."""
        self._unnamed = 0
        self.ranks: dict[int, RankCounters] = {}
        self.step_durations = StepDurations()
        self._rank_by_actor: dict[str, int] = {}
        self._before: Snapshot | None = None
        self._group: frozenset[str] = frozenset()
        self._step: int | None = None
        self._step_at: float | None = None

    def add(self, snapshot: Snapshot) -> None:
        """Count one sample."""
        before, self._before = self._before, snapshot
        elapsed_s = max(0.0, snapshot.taken_at - before.taken_at) if before else 0.0
        self._name_run(snapshot)
        self._note_group(snapshot)
        waiting = _waiting_ranks(snapshot)

        for worker in snapshot.workers:
            rank = self.rank_of(worker)

            if rank is not None:
                own = self.ranks.setdefault(rank, RankCounters())
                _count(own, worker, at=snapshot.taken_at, elapsed_s=elapsed_s)
                own.wait_s += elapsed_s if worker.rank in waiting else 0.0

        self._time_steps(snapshot)

    def is_of(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot may be of the same run."""
        run_id = snapshot.run.id if snapshot.run else None
        known = self._own_id or (snapshot.job.job_id, run_id)
        return known[0] == snapshot.job.job_id and run_id in (None, known[1])

    def skip(self) -> None:
        """Note a failed sample: the time until the next one is attributed to no phase."""
        self._before = None

    def rank_of(self, worker: Worker) -> int | None:
        """Return a worker's rank, from an earlier sample if this one lacks it."""
        return worker.rank if worker.rank is not None else self._rank_by_actor.get(worker.actor_id)

    def _name_run(self, snapshot: Snapshot) -> None:
        """Keep Ray Train's id once it is known: a controller that stops answering must not rename series."""
        if snapshot.run is not None and snapshot.run.id:
            self.run_id = snapshot.run.id
            self._own_id = (snapshot.job.job_id, snapshot.run.id)
        elif not self.run_id:
            self._unnamed += 1

            if self._unnamed >= UNNAMED_SAMPLES or snapshot.job.has_ended:
                self.run_id = snapshot.job.job_id

    def _note_group(self, snapshot: Snapshot) -> None:
        group = frozenset(worker.actor_id for worker in snapshot.workers)
        self._rank_by_actor.update(
            {worker.actor_id: worker.rank for worker in snapshot.workers if worker.rank is not None}
        )

        if not group or group == self._group:
            return

        if self._group and not group & self._group:
            self.restarts += 1

        self._group = group
        self._rank_by_actor = {
            actor: rank for actor, rank in self._rank_by_actor.items() if actor in group
        }

        if len(self._rank_by_actor) == len(group):
            ranks = set(self._rank_by_actor.values())
            self.ranks = {rank: own for rank, own in self.ranks.items() if rank in ranks}

        # A new group resumes from a checkpoint: its steps are not comparable.
        self._step = self._step_at = None

    def _time_steps(self, snapshot: Snapshot) -> None:
        """Count the steps since the last new one, each with their mean duration."""
        step = max(
            (worker.step for worker in snapshot.workers if worker.step is not None), default=None
        )

        if step is None or step == self._step:
            return

        if self._step is not None and self._step_at is not None and step > self._step:
            made = step - self._step
            self.step_durations.add((snapshot.taken_at - self._step_at) / made, made)

        # When the first observed step ended is not known, so it cannot start an interval.
        self._step_at = snapshot.taken_at if self._step is not None else None
        self._step = step


def _count(own: RankCounters, worker: Worker, *, at: float, elapsed_s: float) -> None:
    """Count one sample of a rank."""
    own.paused_s += worker.pause_ms / 1000

    if worker.actor_id != own.actor_id:
        own.actor_id, own.step = worker.actor_id, None

    if worker.state == "alive":
        own.phase_s[worker.phase] = own.phase_s.get(worker.phase, 0.0) + elapsed_s

    if worker.step is not None:
        if own.step is None:
            # The rank may have been idle for long: the step ended no later than it last ran.
            own.last_step_at = at - (worker.idle_s or 0.0)
        elif worker.step > own.step:
            own.steps += worker.step - own.step
            own.last_step_at = at

        own.step = worker.step


def _waiting_ranks(snapshot: Snapshot) -> set[int]:
    """Return the ranks whose training thread is in a collective."""
    return {
        rank
        for group in snapshot.stacks.groups
        if group.role == "worker" and StackInfo(group.frames).in_collective
        for rank in group.ranks
    }
