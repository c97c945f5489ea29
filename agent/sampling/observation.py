"""The request for one sample, and everything that was read for it."""

from __future__ import annotations

from typing import Literal

import msgspec

from dsray_inspect.agent.handles import (
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
from dsray_inspect.agent.model import Agent
from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.process_probe import NOT_PROBED, ProcessProbe
from dsray_inspect.agent.sampling.rank_report import ControllerReport, RankReport
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable

NO_INJECT = Unavailable(reason="disabled", detail="switched off by --no-inject")


class SampleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user wants to see, and what may be done for it."""

    inject: bool = True
    native: bool = False
    locals: bool = False
    children: bool = False
    env: bool = True
    deepspeed: bool = True
    recorder: Literal["idle", "always"] = "idle"
    """Whether a rank that runs is to read its flight recorder too."""
    start: bool = False
    """Whether to read how the run started, too, and what that cost."""
    counters: bool = False
    """Whether to read CPU time, bytes and children, by which two samples are compared."""
    max_pause_ms: float
    only: frozenset[str] | None = None
    """Actor ids of the ranks that may be stopped or dumped from outside, or whose logs are wanted;
    None for all."""
    log_lines: int = 0
    """How many lines of the end of each log file are wanted."""

    @property
    def from_outside(self) -> bool:
        """Whether py-spy must read every worker, whether it answers or not."""
        return self.native or self.locals or self.children or not self.inject


class Observation(msgspec.Struct, kw_only=True):
    """One sample before it is assembled: the answers of all rungs."""

    job: JobHandle
    actors: RunHandle | None
    nodes: list[NodeHandle]
    request: SampleRequest
    stacks: StackTable = msgspec.field(default_factory=StackTable)
    submission: Submission | None = None
    """How the job ended, None while it runs."""
    exits: dict[str, ProcessExit] = {}
    """How worker processes ended, by worker id; read when one of the run has."""
    session_dirs: dict[str, str] = {}
    """By node id, where Ray keeps its logs there."""
    unreachable: dict[str, Unavailable] = {}
    """By node id, why its raylet does not answer; only nodes of silent ranks are asked."""
    helpers: list[ProcessHandle] = []
    """The job's living actors that belong to no run, which ranks may wait for; for `counters`."""
    placement_groups: list[PlacementGroup] = []
    available: dict[str, float] = {}
    holders: list[Holder] = []
    """Who holds the cluster's resources; read while something of the job waits for them."""
    pending: list[ProcessHandle] = []
    """The job's actors that wait to be placed and belong to no run."""
    tasks: list[TaskHandle] | None = None
    """The job's running tasks, oldest first; None where they were not read."""
    controller: ControllerReport | Unavailable = NOT_ASKED
    ranks: dict[str, RankReport | Unavailable] = {}
    """By actor id."""
    node_reports: dict[str, NodeReport] = {}
    """By node id."""
    agents: dict[str, Agent] = {}
    """By node id, who read the node from outside."""
    notes: list[str] = []
    taken_at: float = 0.0
    took_s: float = 0.0

    def process(self, node_id: str, pid: int) -> ProcessProbe:
        """Return what a node told of one of its processes."""
        report = self.node_reports.get(node_id)
        return report.process(pid) if report is not None else NOT_PROBED

    @property
    def driver(self) -> ProcessProbe:
        return self.process(self.job.driver_node_id, self.job.driver_pid)

    @property
    def any_died(self) -> bool:
        """Whether an actor died between being listed and being asked."""
        answers = (self.controller, *self.ranks.values())
        return any(
            isinstance(answer, Unavailable) and answer.reason == "died" for answer in answers
        )
