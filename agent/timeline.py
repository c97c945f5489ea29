"""Spans over time: collected by `trace`, written by the exporters.

Spans are built in the session from records of the ranks or of Ray; nothing here runs in a trainer.
Times are Unix nanoseconds (`_ns`) by the clock of the span's own node.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dsray_inspect.agent.model import Job, Record, Run

SpanKind = Literal["step", "phase", "collective", "checkpoint", "report", "object", "startup"]
Value = str | int | float | bool


class Process(Record, frozen=True, kw_only=True):
    """A process that has spans; `rank` is None for the driver and the controller."""

    role: Literal["driver", "controller", "worker"]
    rank: int | None
    pid: int
    hostname: str
    node_id: str
    node_ip: str
    actor_id: str | None = None
    worker_id: str | None = None
    gpus: tuple[str, ...] = ()
    """UUIDs where NVML reports them, else Ray's slots."""


class Span(Record, frozen=True, kw_only=True):
    """One interval of time in one process.

    `name` has low cardinality (`forward`, `all_reduce`); details are `attributes`, named as
    `agent.tracing.names`, `agent.startup.spans` and `exporters.semconv` define. `end_ns` is None for
    an open span: the process is still in it, or died in it.
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

    def end_by(self, last_ns: int) -> int:
        """Return the end; an open span lasts until `last_ns`, and none ends before it starts."""
        return max(self.start_ns, last_ns if self.end_ns is None else self.end_ns)


class Timeline(Record, frozen=True, kw_only=True):
    """The spans of one run in order of start, and the period they cover."""

    job: Job
    run: Run | None
    processes: tuple[Process, ...]
    spans: tuple[Span, ...]
    from_ns: int | None = None
    """Start of the recording; None for everything that was still kept."""
    until_ns: int | None = None
    """End of the recording: a span open then has lasted until then at least."""
    dropped: int = 0
    """Records that were overwritten, or torn, before they could be read."""
    notes: tuple[str, ...] = ()
    """What is missing, and why."""

    @property
    def last_ns(self) -> int:
        """The end of the last span or of the recording, whichever is later."""
        ends = (span.start_ns if span.end_ns is None else span.end_ns for span in self.spans)
        return max(self.until_ns or 0, max(ends, default=0))
