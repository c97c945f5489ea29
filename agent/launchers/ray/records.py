"""What Ray's own tables say, as records: rung 0."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.compat import ray as shelf


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all rows: immutable, named fields only."""


class JobRow(Row, frozen=True, kw_only=True):
    """One driver. `submission_id` is None for a driver that was not submitted as a job."""

    job_id: str
    submission_id: str | None
    entrypoint: str
    namespace: str
    driver_pid: int
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


class SubmissionRow(Row, frozen=True, kw_only=True):
    """What Ray's job manager keeps of a submitted job; `message` is its one line on the end."""

    status: str
    message: str
    tail: str = ""
    """The end of the driver's log, as Ray's job manager kept it."""


class ExitRow(Row, frozen=True, kw_only=True):
    """How one worker process ended, by Ray's worker table."""

    worker_id: str
    node_id: str
    pid: int
    kind: str
    """SYSTEM_ERROR, INTENDED_SYSTEM_EXIT, USER_ERROR, INTENDED_USER_EXIT, NODE_OUT_OF_MEMORY."""
    detail: str
    ended_at: float | None


class NodeRow(Row, frozen=True, kw_only=True):
    node_id: str
    ip: str
    hostname: str
    alive: bool
    resources: dict[str, float]
    port: int = 0
    """Where its raylet listens."""


class ActorRow(Row, frozen=True, kw_only=True):
    """One actor. `gpu_slots` are the raylet's indices, as in Ray's `resource_mapping`."""

    actor_id: str
    job_id: str
    class_name: str
    module: str
    state: str
    pid: int
    node_id: str
    node_ip: str
    worker_id: str
    owner_worker_id: str
    placement_group_id: str | None
    gpu_slots: tuple[int, ...]
    gpu_share: float
    """The part of each of its GPUs that Ray gave it, 0 to 1; 1 without any."""
    runtime_env_vars: dict[str, str]
    started_at: float
    death_cause: str
    raw: bytes
    """The table's own record, from which a handle can be made."""

    @property
    def alive(self) -> bool:
        return self.state == shelf.ALIVE_STATE

    @property
    def starting(self) -> bool:
        return self.state in shelf.STARTING_STATES


class BundleRow(Row, frozen=True, kw_only=True):
    resources: dict[str, float]
    node_id: str | None


class PlacementGroupRow(Row, frozen=True, kw_only=True):
    placement_group_id: str
    job_id: str
    state: str
    strategy: str
    bundles: tuple[BundleRow, ...]
    requested_ns: int = 0
    """When it was asked for; 0 where Ray does not say."""
    created_ns: int | None = None


class TaskSpan(Row, frozen=True, kw_only=True):
    """One part of a task's execution: `task:deserialize_arguments`, `task:execute`, `task:store_outputs`."""

    name: str
    start_ns: int
    end_ns: int


class TaskRow(Row, frozen=True, kw_only=True):
    """One task with the times at which it came into each of Ray's states."""

    name: str
    is_creation: bool
    actor_id: str
    parent_task_id: str
    task_id: str
    states_ns: dict[str, int]
    spans: tuple[TaskSpan, ...] = ()

    def span(self, name: str) -> TaskSpan | None:
        return next((span for span in self.spans if span.name == name), None)


class ProcessTimes(Row, frozen=True, kw_only=True):
    """When the raylet launched a worker process, and when that had registered with it."""

    launched_ns: int
    registered_ns: int


class StoreTotals(Row, frozen=True, kw_only=True):
    """What went through the object stores of some nodes since these began, whosever it was."""

    created_bytes: int
    spilled_bytes: int
    spill_s: float


class TaskHistory(Row, frozen=True, kw_only=True):
    """How a job came to be, as far as the GCS still knows; `why` says what could not be read."""

    tasks: tuple[TaskRow, ...] = ()
    processes: dict[str, ProcessTimes] = {}
    stores: StoreTotals | None = None
    left_out: int = 0
    """Tasks of the job that were too many to be read."""
    why: str = ""
