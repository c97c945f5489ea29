"""Spans over time: what `trace` collects and the exporters write.

A span is made in the session, from what the ranks or Ray keep; nothing here runs in a trainer.
Times are Unix nanoseconds (`_ns`) by the clock of the span's own node.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dsray_inspect.agent.model import Job, Record, Run

SpanKind = Literal["step", "phase", "collective", "checkpoint", "report", "object", "startup"]
Value = str | int | float | bool


class Process(Record, frozen=True, kw_only=True):
    """A process that spans belong to; `rank` is None for the driver and the controller."""

    role: Literal["driver", "controller", "worker"]
    rank: int | None
    pid: int
    hostname: str
    node_id: str
    node_ip: str
    actor_id: str | None = None
    worker_id: str | None = None
    gpus: tuple[str, ...] = ()
    """UUIDs where NVML gives them, else Ray's slots."""


class Span(Record, frozen=True, kw_only=True):
    """One stretch of time in one process.

    `name` is of low cardinality (`forward`, `all_reduce`); what varies stands in `attributes`,
    under the names of `exporters.semconv`. `end_ns` is None for a span that is still open: the
    process is in it, or ended in it.
    """

    name: str
    kind: SpanKind
    process: int
    """Index into `Timeline.processes`."""
    start_ns: int
    end_ns: int | None
    step: int | None = None
    micro_step: int | None = None
    attributes: dict[str, Value] = msgspec.field(default_factory=dict)


class Timeline(Record, frozen=True, kw_only=True):
    """The spans of one run, ordered by their start, and how far they reach."""

    job: Job
    run: Run | None
    processes: tuple[Process, ...]
    spans: tuple[Span, ...]
    from_ns: int | None = None
    """When the look at it began; None where it reaches back as far as anything was kept."""
    until_ns: int | None = None
    """When the look at it ended: what is open then has lasted at least so long."""
    dropped: int = 0
    """Records that were overwritten or torn before they were read."""
    notes: tuple[str, ...] = ()
    """What is not in it, and why."""
