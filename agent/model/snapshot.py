"""The document of `attach --json`."""

from __future__ import annotations

from typing import Final, Literal

from dsray_inspect.agent.model.collectives import Group
from dsray_inspect.agent.model.job import Controller, Driver, Job, Run
from dsray_inspect.agent.model.node import Node
from dsray_inspect.agent.model.record import Record
from dsray_inspect.agent.model.stacks import Stacks
from dsray_inspect.agent.model.startup import Cost, Startup
from dsray_inspect.agent.model.verdict import Finding, Verdict
from dsray_inspect.agent.model.wait_graph import WaitGraph
from dsray_inspect.agent.model.worker import Worker

SCHEMA_VERSION: Final = 1


class Snapshot(Record, frozen=True, kw_only=True):
    """One sample of one Ray Train run."""

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
    """What the reader should know about how this sample went, such as pids that changed during it."""
    startup: Startup | None = None
    costs: tuple[Cost, ...] = ()
    """What Ray Train, Ray and DeepSpeed took of the run's time, next to `training`."""
    schema_version: Literal[1] = SCHEMA_VERSION
