"""What is asked of a look, and everything it brought home, as it came."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from dsray_inspect.agent.launchers.ray.adapters import RunActors
from dsray_inspect.agent.launchers.ray.records import (
    ActorRow,
    ExitRow,
    JobRow,
    NodeRow,
    PlacementGroupRow,
    SubmissionRow,
)
from dsray_inspect.agent.model import Agent
from dsray_inspect.agent.sampling.rank_report import RankReport

NO_INJECT = "switched off by --no-inject"


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
    """Whether to tell how the run started, too, and what that cost."""
    counters: bool = False
    """Whether CPU time, bytes and children are wanted, to compare two looks by."""
    max_pause_ms: float
    only: frozenset[str] | None = None
    """Actor ids of the ranks that may be stopped or dumped from outside, or whose logs are wanted;
    None for all."""
    log_lines: int = 0
    """How many lines of the end of each log file are wanted."""

    @property
    def from_outside(self) -> bool:
        """Whether py-spy must look at every worker, answering or not."""
        return self.native or self.locals or self.children or not self.inject


class Observation(msgspec.Struct, kw_only=True):
    """The answers of all rungs. Where a text stands for an answer, it says why there is none.

    `workers` is by actor id, `looks` and `agents` by node id; a look's `processes` by pid.
    """

    job: JobRow
    actors: RunActors | None
    nodes: list[NodeRow]
    ask: SampleRequest
    submission: SubmissionRow | None = None
    """How the job ended, None while it runs."""
    exits: dict[str, ExitRow] = {}
    """How worker processes ended, by worker id; read when one of the run has."""
    session_dirs: dict[str, str] = {}
    """By node id, where Ray keeps its logs there."""
    reachable: dict[str, str] = {}
    """By node id, "ok" or why its raylet does not answer; asked of nodes that were silent."""
    helpers: list[ActorRow] = []
    """The job's living actors that belong to no run, which ranks may wait for; for `counters`."""
    placement_groups: list[PlacementGroupRow] = []
    available: dict[str, float] = {}
    controller: dict[str, Any] | str = "not asked"
    workers: dict[str, RankReport | str] = {}
    looks: dict[str, dict[str, Any]] = {}
    agents: dict[str, Agent] = {}
    notes: list[str] = []
    taken_at: float = 0.0
    took_s: float = 0.0

    def process(self, node_id: str, pid: int) -> dict[str, Any]:
        """Return what the look at a node says of one of its processes."""
        found: dict[str, Any] = self.looks.get(node_id, {}).get("processes", {}).get(pid, {})
        return found

    def any_died(self) -> bool:
        """Return whether an actor that lived when we asked was dead when it should answer."""
        answers = (self.controller, *self.workers.values())
        return any(isinstance(one, str) and one.startswith("the actor has died") for one in answers)


def has_threads(answer: RankReport | dict[str, Any] | str | None) -> bool:
    if isinstance(answer, RankReport):
        return bool(answer.threads)

    return isinstance(answer, dict) and bool(answer.get("threads"))
