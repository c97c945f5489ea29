"""The records every part agrees on: what one look at a running job says.

`Snapshot` is the document of `attach --json` (`schema_version` 1); `docs/snapshot.schema.json`
is generated from it. Times are seconds (`_s`) or Unix seconds (`_at`), sizes bytes (`_bytes`).
`None` always means "not known"; the reason stands in `Evidence`.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

SCHEMA_VERSION: Final = 1

Layer = Literal[
    "user", "ray", "ray_train", "deepspeed", "torch", "collective", "python", "library", "native"
]
Phase = Literal[
    "starting",
    "init_process_group",
    "deepspeed_init",
    "op_compile",
    "data",
    "forward",
    "backward",
    "grad_reduce",
    "zero_gather",
    "optimizer_step",
    "checkpoint",
    "report",
    "collective",
    "user",
    "finished",
    "unknown",
]
EnvSource = Literal["runtime_env", "ray", "ray_train", "deepspeed", "user_code", "inherited"]
WorkerState = Literal["alive", "stopped", "pending", "restarting", "dead", "unknown"]
Role = Literal["driver", "controller", "worker", "child"]
Severity = Literal["info", "warning", "error"]
VerdictState = Literal["healthy", "starting", "degraded", "hung", "failed", "finished", "unknown"]
Cause = Literal[
    "rank_blocked_in_user_code",
    "data_stall",
    "collective_mismatch",
    "rank_divergence",
    "gil_held",
    "straggler",
    "rendezvous_wait",
    "network_unreachable",
    "op_compile_slow",
    "op_compile_lock",
    "checkpoint_stall",
    "report_barrier",
    "object_wait",
    "resources_pending",
    "worker_dead",
    "worker_oom",
    "node_lost",
    "driver_blocked",
    "controller_blocked",
    "device_conflict",
    "env_drift",
    "config_drift",
    "nonfinite_loss",
    "overflow_skips",
    "memory_pressure",
    "object_spilling",
    "unknown",
]
StartName = Literal[
    "controller",
    "placement_group",
    "actor_scheduling",
    "process_start",
    "imports",
    "ranks_and_env",
    "rendezvous",
    "before_deepspeed",
    "deepspeed_init",
    "first_step",
]
CostName = Literal[
    "actor_scheduling",
    "process_start",
    "imports",
    "ranks_and_env",
    "rendezvous",
    "deepspeed_init",
    "op_compile",
    "object_store",
    "serialization",
    "report",
    "training",
]
StartUntil = Literal["first_step", "train_func", "now", "partly"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
PHASES: tuple[Phase, ...] = get_args(Phase)
CAUSES: tuple[Cause, ...] = get_args(Cause)
OK = "ok"


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all records: immutable, named fields only.

    Data holds no cycle. Python's collector, which would go through all of it again and again, for
    a third of a second with ten thousand ranks, is told so.
    """


class Local(Record, frozen=True, kw_only=True):
    """One local variable of a frame, its value redacted on the node."""

    name: str
    value: str


class Frame(Record, frozen=True, kw_only=True):
    """One line of a stack. `name` is the bare function name, whichever tool read it."""

    name: str
    file: str
    line: int
    layer: Layer = "python"
    qualname: str | None = None
    locals: tuple[Local, ...] | None = None


class StackGroup(Record, frozen=True, kw_only=True):
    """Equal stacks, shown once, with the ranks that are in them."""

    ranks: tuple[int, ...]
    role: Role
    thread: str
    frames: tuple[Frame, ...]
    pids: tuple[int, ...] = ()
    idle_s: float | None = None
    """Seconds since the first of these threads last ran on a CPU."""


class Stacks(Record, frozen=True, kw_only=True):
    groups: tuple[StackGroup, ...] = ()


class Job(Record, frozen=True, kw_only=True):
    """One driver of a Ray job; `submission_id` is None when it was not submitted as a job."""

    submission_id: str | None
    job_id: str
    entrypoint: str
    state: str
    """RUNNING, SUCCEEDED, FAILED, STOPPED, or FINISHED where Ray does not say how."""

    @property
    def has_ended(self) -> bool:
        return self.state != "RUNNING"

    @property
    def label(self) -> str:
        """The name a user would type."""
        return self.submission_id or self.job_id


class Run(Record, frozen=True, kw_only=True):
    """One Ray Train run (`trainer.fit()`), at its present attempt."""

    id: str | None
    name: str | None
    attempt: str | None
    state: str


class Driver(Record, frozen=True, kw_only=True):
    pid: int
    node_ip: str
    waiting_on: str | None


class Controller(Record, frozen=True, kw_only=True):
    actor_id: str
    pid: int
    node_ip: str
    state: str
    waiting_on: str | None


class Gpu(Record, frozen=True, kw_only=True):
    index: int
    uuid: str
    name: str
    utilization: float | None
    """Ratio 0 to 1."""
    memory_used_bytes: int | None
    memory_total_bytes: int | None = None
    pids: tuple[int, ...] = ()


class Agent(Record, frozen=True, kw_only=True):
    """Who looked at a node from outside the workers, and why not if nobody could."""

    state: Literal["local", "actor", "absent", "failed"]
    detail: str


class Node(Record, frozen=True, kw_only=True):
    node_id: str
    ip: str
    hostname: str
    gpus: tuple[Gpu, ...]
    agent: Agent
    alive: bool = True


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


class Group(Record, frozen=True, kw_only=True):
    """A process group. Groups of different ranks may have the same name, but never the same id."""

    id: str
    name: str
    """What torch calls it."""
    ranks: tuple[int, ...]


class Collective(Record, frozen=True, kw_only=True):
    """One collective as a rank's flight recorder has it."""

    group: str
    """The name of its process group."""
    group_id: str | None
    """Its process group in `Snapshot.groups`; None if the group's ranks are not known."""
    sequence: int
    """Counts the collectives of a group: equal numbers on all ranks are one collective."""
    operation: str
    sizes: tuple[tuple[int, ...], ...]
    dtype: str
    age_s: float
    """Seconds since the rank entered it, by the rank's own clock."""
    finished: bool
    timeout_s: float | None
    """After how long its group gives up."""

    @property
    def group_key(self) -> GroupKey:
        """The name of its process group, and its id, as groups may share a name."""
        return self.group, self.group_id


GroupKey = tuple[str, str | None]


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

        for one in self.collectives:
            if not one.finished and (newest is None or one.age_s < newest.age_s):
                newest = one

        return newest


class Finding(Record, frozen=True, kw_only=True):
    """One cause with its culprits (not their victims) and what it rests on."""

    cause: Cause
    severity: Severity
    ranks: tuple[int, ...]
    summary: str
    evidence: tuple[str, ...]
    next_step: str


NodeKind = Literal[
    "driver",
    "controller",
    "rank",
    "process_group",
    "report",
    "rendezvous",
    "placement_group",
    "object_store",
    "lock",
    "child",
    "address",
    "debugger",
]


class WaitNode(Record, frozen=True, kw_only=True):
    """Something that is waited for, or waits: `name` is unique in its graph."""

    name: str
    kind: NodeKind
    detail: str = ""


class WaitEdge(Record, frozen=True, kw_only=True):
    """`waiter` waits for `awaited`; both are names of nodes."""

    waiter: str
    awaited: str
    because: str
    evidence: str


class WaitGraph(Record, frozen=True, kw_only=True):
    """Who waits for what. `roots` are waited for and wait for nothing that was seen."""

    nodes: tuple[WaitNode, ...] = ()
    edges: tuple[WaitEdge, ...] = ()
    roots: tuple[str, ...] = ()


class Verdict(Record, frozen=True, kw_only=True):
    state: VerdictState
    cause: Cause | None
    ranks: tuple[int, ...]
    summary: str

    def differs_from(self, other: Verdict) -> bool:
        """Return whether it says something else, not just the same in other words."""
        return (self.state, self.cause, self.ranks) != (other.state, other.cause, other.ranks)


class StartPart(Record, frozen=True, kw_only=True):
    """One part of a run's start on its critical path: that of the ranks which came last."""

    name: StartName
    seconds: float


class Cost(Record, frozen=True, kw_only=True):
    """What one thing has cost the run so far, by the rank that it cost most.

    `evidence` says where the number comes from; where there is no number, why not. Costs may
    contain one another: `op_compile` is a part of `deepspeed_init`.
    """

    name: CostName
    seconds: float | None
    evidence: str
    detail: str | None = None
    """What the seconds went into, such as the op that was compiled."""
    bytes: int | None = None
    count: int | None = None
    spilled_bytes: int | None = None


class Startup(Record, frozen=True, kw_only=True):
    """What it took from `fit()`, or from a restart of the worker group, until training ran.

    `parts` follow one another without a gap: they add up to `seconds`.
    """

    began_at: float
    seconds: float
    until: StartUntil
    """Where the known part ends: "now" is in the middle of the start, "train_func" at the
    training function's begin, with nothing known of what came after it, "partly" before that."""
    restart: bool
    """Whether it is that of a restarted worker group, which had its controller already."""
    parts: tuple[StartPart, ...]
    notes: tuple[str, ...] = ()
    """What is not known, and why."""


class Snapshot(Record, frozen=True, kw_only=True):
    """One look at one Ray Train run."""

    taken_at: float
    took_s: float
    job: Job
    run: Run | None
    driver: Driver | None
    controller: Controller | None
    nodes: tuple[Node, ...]
    workers: tuple[Worker, ...]
    groups: tuple[Group, ...] = ()
    """The process groups of the workers' collectives, each once."""
    stacks: Stacks
    findings: tuple[Finding, ...]
    verdict: Verdict
    graph: WaitGraph = WaitGraph()
    notes: tuple[str, ...] = ()
    """What the reader should know about how this look went, such as pids that changed in the middle."""
    startup: Startup | None = None
    costs: tuple[Cost, ...] = ()
    """What Ray Train, Ray and DeepSpeed took of the run's time, next to `training`."""
    schema_version: Literal[1] = SCHEMA_VERSION
