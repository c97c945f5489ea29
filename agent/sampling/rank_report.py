"""What a rank and the controller tell of themselves: rungs 1 and 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dsray_inspect.agent.model import Collective, DeepSpeed, Group, Record
from dsray_inspect.agent.sampling.process_probe import (
    NO_IDENTITY,
    ActivityCounters,
    Environ,
    Identity,
    older_collectives,
)
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable


class TrainingHealth(Record, frozen=True, kw_only=True):
    """The engine's numbers. What is not finite is text: "nan", "inf", "-inf"."""

    skipped_steps: float | str | None = None
    grad_norm: float | str | None = None
    overflow: bool | None = None
    """Of the newest step; known on the host where the norm is on a device."""
    loss_scale: float | str | None = None
    loss: float | str | None = None
    weight: float | str | None = None
    """One element of the model."""


class CompileLock(Record, frozen=True, kw_only=True):
    """A lock of torch's extension compiler that a rank waits for."""

    path: str
    age_s: float | None
    """None for a lock file that is gone."""
    builders: int = 0
    """How many compilers run on the node, whoever started them."""


class OpBuild(Record, frozen=True, kw_only=True):
    """A DeepSpeed op that a rank has loaded, and how long ninja took to build it."""

    name: str
    seconds: float
    in_this_process: bool


class RankReport(Record, frozen=True, kw_only=True):
    """One rank's answer. What it was not asked for, or does not know, is empty or None."""

    threads: tuple[Thread, ...] = ()
    identity: Identity = NO_IDENTITY
    environ: Environ | Unavailable = NOT_ASKED
    env_state: int | None = None
    """Equal as long as its variables are; see `remote.worker.process`."""
    deepspeed: DeepSpeed | Unavailable = NOT_ASKED
    step: int | None = None
    health: TrainingHealth | None = None
    collectives: tuple[Collective, ...] | Unavailable = NOT_ASKED
    groups: tuple[Group, ...] = ()
    """The process groups of its collectives."""
    longest_gap_s: float | None = None
    newest_age_s: float | None = None
    """Seconds since the newest entry of its flight recorder, messages between two ranks included."""
    arrivals: Mapping[str, Sequence[tuple[int, int]]] = {}
    """By process group: (sequence, Unix ns) of its newest collectives."""
    recorder_state: int | None = None
    """Equal as long as its flight recorder's entries are; see `remote.recorder_state`."""
    counters: ActivityCounters | None = None
    locks: tuple[CompileLock, ...] = ()
    versions: Mapping[str, str] = {}
    start: str | None = None
    """The record of its start; see `remote.startup_record`."""
    builds: tuple[OpBuild, ...] | None = None
    train_s: Mapping[str, float] = {}
    """Seconds that Ray Train sums up in the rank; see `remote.startup_artifacts`."""
    failed: tuple[str, ...] = ()
    """What went wrong in a part of the read."""
    pause_ms: float = 0.0

    def older(self, by_s: float) -> RankReport:
        """Return the report as its rank would give it now: the same, but for what is told as an age."""
        collectives = self.collectives
        threads = tuple(
            thread
            if thread.idle_s is None
            else msgspec.structs.replace(thread, idle_s=thread.idle_s + by_s)
            for thread in self.threads
        )
        return msgspec.structs.replace(
            self,
            threads=threads,
            collectives=collectives
            if isinstance(collectives, Unavailable)
            else older_collectives(collectives, by_s),
            newest_age_s=None if self.newest_age_s is None else self.newest_age_s + by_s,
            pause_ms=0.0,
        )


class ControllerWorker(Record, frozen=True, kw_only=True):
    """One worker as Ray Train's controller knows it."""

    actor_id: str
    rank: int | None = None
    local_rank: int | None = None
    node_rank: int | None = None
    world_size: int | None = None
    hostname: str | None = None
    gpu_ids: tuple[str, ...] = ()


class ControllerReport(Record, frozen=True, kw_only=True):
    """The controller's answer."""

    run_id: str | None = None
    run_name: str | None = None
    state: str | None = None
    attempt: str | None = None
    failures: int | None = None
    """How many of its worker groups have failed so far."""
    max_failures: int | None = None
    """After how many more than these the run has failed; -1 for any number."""
    workers: tuple[ControllerWorker, ...] = ()
    threads: tuple[Thread, ...] = ()
    start: str | None = None
    """The record of its start; see `remote.startup_record`."""

    @property
    def retries(self) -> bool:
        """Whether it starts another worker group when this one fails."""
        if self.failures is None or self.max_failures is None:
            return False

        return self.max_failures < 0 or self.failures < self.max_failures
