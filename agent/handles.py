"""Who and where: jobs, runs, processes and nodes, as any launcher tells of them.

What a launcher does not know keeps its default. Only the launcher itself looks at what is
its own: `generation`, `raw`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ALIVE = "ALIVE"
DEAD = "DEAD"
STARTING = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "RESTARTING")
"""States of a process that is to come alive; any other is the state of one that ended."""


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all of these: immutable, named fields only."""


class JobHandle(Row, frozen=True, kw_only=True):
    """One driver, or the command that stands for it.

    `submission_id` is None for one that was not submitted to a job manager.
    """

    job_id: str
    submission_id: str | None
    entrypoint: str
    namespace: str
    driver_pid: int
    """0 where there is no driver."""
    driver_ip: str
    driver_node_id: str
    is_dead: bool
    started_at: float
    ended_at: float | None
    runtime_env_vars: dict[str, str]

    @property
    def label(self) -> str:
        """The name a user would type."""
        return self.submission_id or self.job_id


class Submission(Row, frozen=True, kw_only=True):
    """What a job manager keeps of a submitted job; `message` is its one line on the end."""

    status: str
    message: str
    tail: str = ""
    """The end of the driver's log, as the job manager kept it."""


class ProcessExit(Row, frozen=True, kw_only=True):
    """How one process ended, by its launcher's own account."""

    worker_id: str
    node_id: str
    pid: int
    kind: str
    """SYSTEM_ERROR, INTENDED_SYSTEM_EXIT, USER_ERROR, INTENDED_USER_EXIT, NODE_OUT_OF_MEMORY."""
    detail: str
    ended_at: float | None


class NodeHandle(Row, frozen=True, kw_only=True):
    node_id: str
    ip: str
    hostname: str
    alive: bool
    resources: dict[str, float]
    port: int = 0
    """Where something of the launcher listens on it; 0 for nothing."""


class ProcessHandle(Row, frozen=True, kw_only=True):
    """One process of a run: a rank, its controller, or a helper of the same job.

    `actor_id` names it for the whole session, also before it has a pid; `worker_id` names its
    log files. `gpu_slots` are the indices under which the launcher gave it GPUs.
    """

    actor_id: str
    job_id: str
    name: str = ""
    """What its owner calls it."""
    class_name: str = ""
    module: str = ""
    state: str
    pid: int
    node_id: str
    node_ip: str
    worker_id: str = ""
    owner_worker_id: str = ""
    placement_group_id: str | None = None
    gpu_slots: tuple[int, ...] = ()
    gpu_share: float = 1.0
    """The part of each of its GPUs that it was given, 0 to 1; 1 without any."""
    runtime_env_vars: dict[str, str]
    started_at: float
    death_cause: str = ""
    rank: int | None = None
    """Which rank its launcher made it, None where that is for others to say."""
    required: dict[str, float] = msgspec.field(default_factory=dict)
    """The resources it holds, or waits for."""
    argv: tuple[str, ...] = ()
    """The words of its command line, without secrets, where that is what its launcher started."""
    raw: bytes = b""
    """What its launcher needs to reach it."""

    @property
    def alive(self) -> bool:
        return self.state == ALIVE

    @property
    def starting(self) -> bool:
        return self.state in STARTING


class Bundle(Row, frozen=True, kw_only=True):
    resources: dict[str, float]
    node_id: str | None


class TaskHandle(Row, frozen=True, kw_only=True):
    """One task that runs, of no actor or of an operator's actor."""

    task_id: str
    name: str
    job_id: str
    node_id: str
    pid: int
    started_at: float
    actor_id: str = ""
    required: dict[str, float] = msgspec.field(default_factory=dict)
    placement_group_id: str | None = None


class Holder(Row, frozen=True, kw_only=True):
    """Something that holds resources of the cluster; nobody else can have them."""

    kind: Literal["placement group", "actor", "task"]
    id: str
    name: str = ""
    """What its owner calls it."""
    members: str
    """The class of an actor, a task's function, or the actors in a placement group."""
    job: str
    """The name of its job that a user would type."""
    job_id: str
    job_is_dead: bool
    pid: int = 0
    node_ids: tuple[str, ...]
    resources: dict[str, float]


class PlacementGroup(Row, frozen=True, kw_only=True):
    placement_group_id: str
    name: str = ""
    job_id: str
    state: str
    strategy: str
    bundles: tuple[Bundle, ...]
    requested_ns: int = 0
    """When it was asked for; 0 where Ray does not say."""
    created_ns: int | None = None


class RunHandle(msgspec.Struct, frozen=True, kw_only=True):
    """One run: its controller if it has one, and the processes of its present worker group."""

    generation: str
    """Which of its launcher's ways started it; only the launcher looks at it."""
    controller: ProcessHandle | None
    workers: tuple[ProcessHandle, ...]
    name: str | None = None
    """What it is called, where no controller has to be asked for that."""
    past_groups: int = 0
    """How many worker groups it had before this one, as far as its launcher remembers."""

    @property
    def alive(self) -> bool:
        """Whether any of its actors lives or is about to."""
        rows = (self.controller, *self.workers)
        return any(row.alive or row.starting for row in rows if row is not None)

    @property
    def waits_for_workers(self) -> bool:
        """Whether it lives and none of its workers does: it starts, or lacks what they need."""
        return self.alive and not self.has_living_workers

    @property
    def some_ended(self) -> bool:
        """Whether a worker of the group is no longer, or not yet, alive."""
        return not all(row.alive for row in self.workers)

    @property
    def has_living_workers(self) -> bool:
        return any(process.alive for process in self.workers)

    def is_same(self, other: RunHandle) -> bool:
        """Return whether both are one run, perhaps at different attempts."""
        if self.name != other.name:
            return False

        if self.controller is not None and other.controller is not None:
            return self.controller.actor_id == other.controller.actor_id

        owners = {row.owner_worker_id for row in other.workers}
        return any(row.owner_worker_id in owners for row in self.workers)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One run that could be meant; `actors` is None for a job without runs.

    `run_id`, `run_name`, `state` and `attempt` come from the controller and are None when it
    did not answer.
    """

    job: JobHandle
    actors: RunHandle | None
    run_id: str | None = None
    run_name: str | None = None
    state: str | None = None
    attempt: str | None = None
    number: int = 1
    """Its place among the runs of its job, oldest first."""
    siblings: int = 0
    """How many other runs its job has."""

    @property
    def typed_name(self) -> str:
        """The name that a user can type and that means no other run."""
        return f"{self.job.label}/{self.number}" if self.siblings else self.job.label

    @property
    def label(self) -> str:
        if self.run_name or self.run_id:
            return f"{self.run_name} ({(self.run_id or 'no id')[:8]})"

        return self.typed_name

    def is_called(self, name: str) -> bool:
        """Return whether `name` is this run or its job; run ids may be shortened to 6 digits."""
        if name in (self.job.submission_id, self.job.job_id, self.run_id, self.run_name):
            return True

        if name in (f"{self.job.submission_id}/{self.number}", f"{self.job.job_id}/{self.number}"):
            return self.actors is not None

        return bool(self.run_id and len(name) >= 6 and self.run_id.startswith(name))
