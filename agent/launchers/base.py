"""What any launcher of runs must be able to do, capability by capability.

What a launcher cannot do it says by `Unavailable`, with the reason that a user is to see; the
rungs that do not need it answer all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from dsray_inspect.agent.handles import (
    Candidate,
    Holder,
    JobHandle,
    NodeHandle,
    PlacementGroup,
    ProcessExit,
    ProcessHandle,
    RunHandle,
    Submission,
    TaskHandle,
)
from dsray_inspect.agent.launchers.start import Milestones, StartFacts
from dsray_inspect.agent.unavailable import Unavailable

if TYPE_CHECKING:
    from dsray_inspect.agent.launchers.preflight import Preflight

Part = Callable[[Any, dict[str, Any], dict[str, Any]], dict[str, Any]]
"""What runs inside a process: `part(actor, request, so_far)`; see `remote.reads`."""


class CallFailed(Exception):
    """Raised, or given as an answer, when a process did not answer; the text says why."""

    def __init__(self, why: str, *, dead: bool = False) -> None:
        super().__init__(why)
        self.dead = dead


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is and how it stands with its launcher, before any process is asked.

    `placement_groups`, `available` (free resources by name) and `holders` are read while something
    of the job waits for resources, `exits` (by worker id) when one has ended, `submission` once the
    job is over.
    """

    nodes: list[NodeHandle]
    placement_groups: list[PlacementGroup] = msgspec.field(default_factory=list)
    available: dict[str, float] = msgspec.field(default_factory=dict)
    holders: list[Holder] = msgspec.field(default_factory=list)
    """Who holds the cluster's resources, whichever job is theirs."""
    pending: list[ProcessHandle] = msgspec.field(default_factory=list)
    """The job's processes that wait to be placed and belong to no run."""
    submission: Submission | None = None
    exits: dict[str, ProcessExit] = msgspec.field(default_factory=dict)
    helpers: list[ProcessHandle] = msgspec.field(default_factory=list)
    """The job's living processes that belong to no run."""
    log_folders: dict[str, str] = msgspec.field(default_factory=dict)
    """By node id, the folder whose `logs` has the log files; "" where it is not known."""
    notes: list[str] = msgspec.field(default_factory=list)
    """What a user must know of what is not there to be read."""


class InProcessReads(Protocol):
    """Runs small reads inside the processes of a run, between two tasks of theirs."""

    def controller_parts(self, run: RunHandle) -> Sequence[Part] | Unavailable:
        """Return what is to run in the controller, or why there is nothing to ask."""
        ...

    def send(self, process: ProcessHandle, parts: Sequence[Part], request: dict[str, Any]) -> Any:
        """Ask a process to run the parts of a read; returns at once with a reference.

        `request` must hold `until`; see `remote.reads`.

        Raises:
            CallFailed: it cannot be asked.
        """
        ...

    def answers(self, references: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer or `CallFailed` of those that came within `timeout_s`."""
        ...


class NodeReaderHost(Protocol):
    """Starts readers of ours on nodes; each ends with this process."""

    def node_id(self) -> str:
        """Return the node this process is on."""
        ...

    def start_reader(self, node_id: str, reader_class: type) -> Any:
        """Return a reader that is being started on a node."""
        ...

    def ask_reader(self, reader: Any, method: str, request: dict[str, Any]) -> Any:
        """Call a method of a reader; returns at once with a reference."""
        ...

    def answers(self, references: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer or `CallFailed` of those that came within `timeout_s`."""
        ...


class Launcher(Protocol):
    """One way of starting runs, connected to where these are; closed by `close`."""

    name: str
    """`ray`, `local`, …: what a cause's `needs` names."""
    address: str

    def close(self) -> None: ...

    def runs(self, *, inject: bool = True) -> list[Candidate]:
        """Return every job with its runs; with `inject` named by controllers that answer."""
        ...

    def find(self, name: str | None, *, inject: bool = True) -> Candidate:
        """Return the run that `name` means, or the only running one.

        Raises:
            TargetNotFound: nothing is called so.
            AmbiguousTarget: several runs fit.
        """
        ...

    def refresh(self, job: JobHandle, run: RunHandle | None) -> tuple[JobHandle, RunHandle | None]:
        """Return a job and its run as they are now."""
        ...

    def layout(self, job: JobHandle, run: RunHandle | None, *, helpers: bool = False) -> Layout:
        """Return where a run is; `helpers` are listed only where that is asked for."""
        ...

    def running_tasks(self, job: JobHandle) -> list[TaskHandle] | None:
        """Return the job's tasks that run, oldest first; None where they cannot be read."""
        ...

    def in_process(self, run: RunHandle | None = None) -> InProcessReads | Unavailable:
        """Return what reads inside the processes of a run; connects when it is first needed."""
        ...

    def node_readers(self) -> NodeReaderHost | Unavailable:
        """Return what starts readers on nodes; connects when it is first needed."""
        ...

    def preflight(self) -> Preflight | Unavailable:
        """Return what the doctor needs, by this connection: to be closed before the launcher."""
        ...

    def start(self, job: JobHandle, run: RunHandle) -> StartFacts | Unavailable:
        """Return what is still kept of how a run started."""
        ...

    def start_from_log(self, run: RunHandle) -> Milestones | None:
        """Return what the run's own log says of its start, None where it is not read."""
        ...
