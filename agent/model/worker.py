"""A rank."""

from __future__ import annotations

from typing import Literal

import msgspec

from dsray_inspect.agent.model.collectives import Collective
from dsray_inspect.agent.model.record import Record
from dsray_inspect.agent.model.vocabulary import OK, EnvSource, Phase, WorkerState


class WorkerGpu(Record, frozen=True, kw_only=True):
    """One GPU of a rank: Ray's slot, its place in CUDA_VISIBLE_DEVICES, the device's UUID."""

    slot: int
    visible: str | None
    uuid: str | None


class Function(Record, frozen=True, kw_only=True):
    name: str
    file: str
    line: int


class EnvVar(Record, frozen=True, kw_only=True):
    value: str
    source: EnvSource


class InitPhase(Record, frozen=True, kw_only=True):
    phase: str
    seconds: float


class DeepSpeed(Record, frozen=True, kw_only=True):
    """What the live engine of a rank is; `config_digest` is equal when the effective config is."""

    version: str
    zero_stage: int
    dtype: str
    micro_batch_size: int
    gradient_accumulation_steps: int
    train_batch_size: int | None
    offload: str | None
    optimizer: str | None
    parameters: int | None
    process_groups: tuple[str, ...]
    config_digest: str
    config: dict[str, str] = msgspec.field(default_factory=dict)
    """The effective config, flattened to dotted keys, secrets redacted."""
    init: tuple[InitPhase, ...] = ()


class Evidence(Record, frozen=True, kw_only=True):
    """Per rung "ok", or why it did not answer."""

    gcs: str
    controller: str
    worker: str
    stack: str
    gpu: str
    env: str = OK
    deepspeed: str = OK
    collectives: str = OK
    init: str = "not asked"
    """Whether `deepspeed.init` holds all phases."""


class LogFile(Record, frozen=True, kw_only=True):
    """The end of one log file of a rank, secrets redacted on the node."""

    stream: Literal["stdout", "stderr", "train"]
    """"train" is Ray Train's own file: what `print` and `logging` were given."""
    path: str
    age_s: float
    """Seconds since it was last written to, by its node's clock."""
    lines: tuple[str, ...]
    is_whole: bool
    """Whether the file has no other lines."""


class Log(Record, frozen=True, kw_only=True):
    """What the log files of a rank end with; `why` is "ok", or why one or all are missing."""

    hostname: str
    files: tuple[LogFile, ...]
    why: str = OK


class Worker(Record, frozen=True, kw_only=True):
    """One rank of the worker group."""

    rank: int | None
    local_rank: int | None
    node_rank: int | None
    world_size: int | None
    actor_id: str
    worker_id: str
    pid: int
    node_id: str
    node_ip: str
    hostname: str
    state: WorkerState
    gpus: tuple[WorkerGpu, ...]
    function: Function | None
    phase: Phase
    step: int | None
    env: dict[str, EnvVar]
    deepspeed: DeepSpeed | None
    evidence: Evidence
    pause_ms: float
    idle_s: float | None = None
    """Seconds since the training thread last ran on a CPU."""
    collectives: tuple[Collective, ...] = ()
    """The newest of each process group."""
    longest_gap_s: float | None = None
    """The longest time this rank was without a new collective of late."""
    stack_source: Literal["in-process", "py-spy", "faulthandler"] | None = None
    rss_bytes: int | None = None
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    log: Log | None = None
    """None where nobody asked for it."""

    @property
    def waiting_in(self) -> Collective | None:
        """The collective that it has entered last and not left."""
        newest = None

        for collective in self.collectives:
            if not collective.finished and (newest is None or collective.age_s < newest.age_s):
                newest = collective

        return newest
