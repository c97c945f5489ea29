"""What adds up over the looks at one run: steps, seconds in phases, waits, pauses.

A look is a sample: the time since the look before it counts for what it finds. Nothing is
counted over a stretch in which looks failed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from dsray_inspect.agent.model import Snapshot, Worker
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.exporters.metrics import STEP_BUCKETS_S

UNNAMED_LOOKS = 5
"""So often the controller may keep its run's id for itself before the job's id stands for it."""


class RankCounters(msgspec.Struct, kw_only=True):
    """One rank's, over all the processes it has had."""

    actor_id: str = ""
    step: int | None = None
    steps: int = 0
    last_step_at: float | None = None
    wait_s: float = 0.0
    paused_s: float = 0.0
    phase_s: dict[str, float] = msgspec.field(default_factory=dict)


class Durations(msgspec.Struct, kw_only=True):
    """A histogram of step times."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(STEP_BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, each_s: float, times: int) -> None:
        self.counts[bisect_left(STEP_BUCKETS_S, each_s)] += times
        self.sum_s += each_s * times

    def cumulated(self) -> Iterator[tuple[str, int]]:
        """Yield each bucket's upper end and how many lie at or below it."""
        below = 0

        for end, count in zip((*STEP_BUCKETS_S, float("inf")), self.counts, strict=True):
            below += count
            yield ("+Inf" if end == float("inf") else repr(end)), below


class RunCounters:
    """Of one run, while it is watched."""

    def __init__(self) -> None:
        self.run_id = ""
        """Empty until it is known; a series must not change its name because it came too soon."""
        self.restarts = 0
        self._told: tuple[str, str] | None = None
        """The job and the run's own id, once the controller has told it."""
        self._unnamed = 0
        self.ranks: dict[int, RankCounters] = {}
        self.durations = Durations()
        self._known: dict[str, int] = {}
        self._before: Snapshot | None = None
        self._group: frozenset[str] = frozenset()
        self._step: int | None = None
        self._step_at: float | None = None

    def add(self, snapshot: Snapshot) -> None:
        """Count one look."""
        before, self._before = self._before, snapshot
        elapsed_s = max(0.0, snapshot.taken_at - before.taken_at) if before else 0.0
        self._name_run(snapshot)
        self._note_group(snapshot)
        waiting = waiting_ranks(snapshot)

        for worker in snapshot.workers:
            rank = self.rank_of(worker)

            if rank is not None:
                tally = self.ranks.setdefault(rank, RankCounters())
                count(tally, worker, at=snapshot.taken_at, elapsed_s=elapsed_s)
                tally.wait_s += elapsed_s if worker.rank in waiting else 0.0

        self._time_steps(snapshot)

    def is_of(self, snapshot: Snapshot) -> bool:
        """Return whether a look is at the same run, as far as it tells."""
        run_id = snapshot.run.id if snapshot.run else None
        told = self._told or (snapshot.job.job_id, run_id)
        return told[0] == snapshot.job.job_id and run_id in (None, told[1])

    def skip(self) -> None:
        """Note that a look failed: the time up to the next one belongs to no phase."""
        self._before = None

    def rank_of(self, worker: Worker) -> int | None:
        """Return a worker's rank, also when this look does not tell it."""
        return worker.rank if worker.rank is not None else self._known.get(worker.actor_id)

    def _name_run(self, snapshot: Snapshot) -> None:
        """Keep Ray Train's id once it was told; a silent controller must not rename the series."""
        if snapshot.run is not None and snapshot.run.id:
            self.run_id = snapshot.run.id
            self._told = (snapshot.job.job_id, snapshot.run.id)
        elif not self.run_id:
            self._unnamed += 1

            if self._unnamed >= UNNAMED_LOOKS or snapshot.job.has_ended:
                self.run_id = snapshot.job.job_id

    def _note_group(self, snapshot: Snapshot) -> None:
        group = frozenset(worker.actor_id for worker in snapshot.workers)
        self._known.update(
            {one.actor_id: one.rank for one in snapshot.workers if one.rank is not None}
        )

        if not group or group == self._group:
            return

        if self._group and not group & self._group:
            self.restarts += 1

        self._group = group
        self._known = {actor: rank for actor, rank in self._known.items() if actor in group}

        if len(self._known) == len(group):
            ranks = set(self._known.values())
            self.ranks = {rank: one for rank, one in self.ranks.items() if rank in ranks}

        # Another group goes on from a checkpoint: its steps are not comparable.
        self._step = self._step_at = None

    def _time_steps(self, snapshot: Snapshot) -> None:
        """Count the run's steps since a step was last seen to end, with their mean."""
        step = max((one.step for one in snapshot.workers if one.step is not None), default=None)

        if step is None or step == self._step:
            return

        if self._step is not None and self._step_at is not None and step > self._step:
            made = step - self._step
            self.durations.add((snapshot.taken_at - self._step_at) / made, made)

        # When the first step ended that was ever seen is not known: its time starts no count.
        self._step_at = snapshot.taken_at if self._step is not None else None
        self._step = step


def count(tally: RankCounters, worker: Worker, *, at: float, elapsed_s: float) -> None:
    """Count one rank's look."""
    tally.paused_s += worker.pause_ms / 1000

    if worker.actor_id != tally.actor_id:
        tally.actor_id, tally.step = worker.actor_id, None

    if worker.state == "alive":
        tally.phase_s[worker.phase] = tally.phase_s.get(worker.phase, 0.0) + elapsed_s

    if worker.step is not None:
        if tally.step is None:
            # It may have stood still for long: the step cannot be newer than its last move.
            tally.last_step_at = at - (worker.idle_s or 0.0)
        elif worker.step > tally.step:
            tally.steps += worker.step - tally.step
            tally.last_step_at = at

        tally.step = worker.step


def waiting_ranks(snapshot: Snapshot) -> set[int]:
    """Return the ranks whose training thread stands in a collective."""
    return {
        rank
        for group in snapshot.stacks.groups
        if group.role == "worker" and StackInfo(group.frames).in_collective
        for rank in group.ranks
    }
