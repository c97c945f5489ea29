"""A `Timeline` as OpenTelemetry traces: which trace a span belongs to, and under which parent.

One trace is one global step over all ranks: below its root is each rank's step, and below that
whatever the rank did in it. The run's start is a trace of its own, and the root of every step links
to it. A collective outside any known step is a trace of its own over its ranks.

Steps inferred from the pattern of collectives are counted from the oldest one recorded, so their
numbers differ from one timeline to the next. They are identified by the sequence number of their
first collective instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.timeline import Process, Span, Timeline, Value
from dsray_inspect.agent.tracing.collectives import collective_id
from dsray_inspect.exporters import semconv, span_ids

_STEP_ROOT: Final = "train.step"
_START_ROOT: Final = "train.start"
_TOP_DOWN: Final = {"startup": 0, "step": 0}
"""Of two spans with the same times, the one of the earlier kind is the parent."""

AttributeValue = Value | tuple[str, ...]


class OtelSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One span, ready to be sent."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, AttributeValue]
    link: tuple[int, int] | None = None
    """The trace and span it links to."""
    is_open: bool = False
    error: str | None = None


class Trace(msgspec.Struct, kw_only=True):
    """The spans of a timeline that belong to one trace, and the name of its root."""

    key: int | str
    root: str
    step: int | None = None
    """The number of its step in the timeline."""
    spans: list[Span] = msgspec.field(default_factory=list)


def otel_spans(timeline: Timeline, *, whole: bool = False) -> Iterator[OtelSpan]:
    """Yield the spans of every finished trace; with `whole`, of all, with open spans cut off.

    A trace is finished when none of its spans is open, a step when every rank is in a later one.
    The rest comes with a later timeline.
    """
    last_ns = timeline.last_ns
    reached = _step_reached_by_all(timeline)

    for trace in _traces(timeline):
        is_over = all(span.end_ns is not None for span in trace.spans)

        if trace.step is not None:
            is_over = is_over and trace.step < reached

        if whole or is_over:
            yield from _trace_spans(trace, timeline, last_ns)


def _step_reached_by_all(timeline: Timeline) -> int:
    """Return the newest step that every process with steps has reached."""
    newest: dict[int, int] = {}

    for span in timeline.spans:
        if span.step is not None:
            newest[span.process] = max(newest.get(span.process, span.step), span.step)

    return min(newest.values(), default=0)


def _traces(timeline: Timeline) -> list[Trace]:
    """Group the spans into traces, in order of start."""
    found: dict[int | str, Trace] = {}
    step_keys = _inferred_step_keys(timeline)

    for span in timeline.spans:
        key, root = _trace_key(span, timeline)
        key = step_keys.get(key, key) if root == _STEP_ROOT else key
        found.setdefault(key, Trace(key=key, root=root, step=span.step)).spans.append(span)

    return list(found.values())


def _inferred_step_keys(timeline: Timeline) -> dict[int | str, str]:
    """Return a stable key for each inferred step: the collective it begins with."""
    inferred = {
        span.step
        for span in timeline.spans
        if span.kind == "step" and span.attributes.get(semconv.STEP_INFERRED)
    }
    firsts: dict[int | str, str] = {}

    for span in sorted(timeline.spans, key=lambda span: span.start_ns):
        collective = collective_id(span)

        if span.step in inferred and span.step is not None and collective is not None:
            firsts.setdefault(span.step, f"inferred/{collective}")

    return firsts


def _trace_key(span: Span, timeline: Timeline) -> tuple[int | str, str]:
    """Return the key of the trace that a span belongs to, and the name of its root."""
    if span.step is not None:
        return span.step, _STEP_ROOT

    if span.kind == "startup":
        return span_ids.START, _START_ROOT

    collective = collective_id(span)

    if collective is not None:
        return f"collective/{collective}", span.name

    return (
        f"{_process_name(timeline.processes[span.process])}/{span.name}/{span.start_ns}",
        span.name,
    )


def _process_name(process: Process) -> str:
    return str(process.rank) if process.rank is not None else process.role


def _trace_spans(trace: Trace, timeline: Timeline, last_ns: int) -> Iterator[OtelSpan]:
    """Yield the root of a trace and all spans below it."""
    run_id, attempt = _run_identity(timeline)
    trace_id = span_ids.trace_id(run_id, attempt, trace.key)
    root_id = span_ids.span_id(trace_id, "", trace.root, 0)
    start = span_ids.trace_id(run_id, attempt, span_ids.START)
    is_start = trace.key == span_ids.START
    yield OtelSpan(
        trace_id=trace_id,
        span_id=root_id,
        parent_id=None,
        name=trace.root,
        start_ns=min(span.start_ns for span in trace.spans),
        end_ns=max(span.end_by(last_ns) for span in trace.spans),
        attributes=_run_attributes(timeline, trace),
        link=None if is_start else (start, span_ids.span_id(start, "", _START_ROOT, 0)),
        is_open=any(span.end_ns is None for span in trace.spans),
    )

    for process in sorted({span.process for span in trace.spans}):
        own = [span for span in trace.spans if span.process == process]
        parent = (trace_id, root_id, trace.step == trace.key)
        yield from _nested(own, timeline.processes[process], parent, last_ns=last_ns)


def _nested(
    spans: Sequence[Span], process: Process, parent: tuple[int, int, bool], *, last_ns: int
) -> Iterator[OtelSpan]:
    """Yield the spans of one process in a trace, each under the innermost one that contains it.

    `parent`: the trace id, the root's span id, and whether step numbers are the engine's.
    """
    trace_id, root_id, is_numbered = parent
    counts: dict[str, int] = {}
    enclosing: list[tuple[int, int]] = []
    """End and id of the enclosing spans, the innermost last."""

    for span in sorted(spans, key=lambda span: _nesting_order(span, last_ns)):
        end_ns = span.end_by(last_ns)

        while enclosing and enclosing[-1][0] < end_ns:
            enclosing.pop()

        index = counts.get(span.name, 0)
        counts[span.name] = index + 1
        own_id = span_ids.span_id(trace_id, _process_name(process), span.name, index)
        error = span.attributes.get(semconv.ERROR_TYPE)
        yield OtelSpan(
            trace_id=trace_id,
            span_id=own_id,
            parent_id=enclosing[-1][1] if enclosing else root_id,
            name=span.name,
            start_ns=span.start_ns,
            end_ns=end_ns,
            attributes=_span_attributes(span, process, is_numbered=is_numbered),
            is_open=span.end_ns is None,
            error=str(error) if error is not None else None,
        )

        # Collectives may overlap each other: none contains another.
        if span.kind != "collective":
            enclosing.append((end_ns, own_id))


def _nesting_order(span: Span, last_ns: int) -> tuple[int, int, int]:
    """Sort key: by start, enclosing spans first."""
    return (span.start_ns, -span.end_by(last_ns), _TOP_DOWN.get(span.kind, 1))


def _run_identity(timeline: Timeline) -> tuple[str, str]:
    """Return the ids of run and attempt; the job's id where Ray Train's is not known."""
    run = timeline.run
    run_id = (run.id if run else None) or timeline.job.job_id
    return run_id, (run.attempt if run else None) or ""


def _run_attributes(timeline: Timeline, trace: Trace) -> dict[str, AttributeValue]:
    run_id, attempt = _run_identity(timeline)
    name = timeline.run.name if timeline.run else None
    given: dict[str, AttributeValue | None] = {
        semconv.RUN_ID: run_id,
        semconv.RUN_ATTEMPT_ID: attempt or None,
        semconv.RUN_NAME: name,
        semconv.RAY_JOB_ID: timeline.job.job_id,
        semconv.RAY_SUBMISSION_ID: timeline.job.submission_id,
        semconv.STEP_GLOBAL: trace.step if trace.step == trace.key else None,
        semconv.STEP_INFERRED: True if trace.step not in (None, trace.key) else None,
    }
    return {key: value for key, value in given.items() if value is not None}


def _span_attributes(
    span: Span, process: Process, *, is_numbered: bool
) -> dict[str, AttributeValue]:
    """Return the attributes of a span and of its process."""
    given: dict[str, AttributeValue | None] = {
        semconv.ROLE: process.role,
        semconv.RANK_WORLD: process.rank,
        semconv.HOST_NAME: process.hostname or process.node_ip,
        semconv.PROCESS_PID: process.pid,
        semconv.RAY_PID: process.pid,
        semconv.RAY_NODE_ID: process.node_id,
        semconv.RAY_ACTOR_ID: process.actor_id,
        semconv.RAY_WORKER_ID: process.worker_id,
        semconv.HW_ID: process.gpus or None,
        semconv.PHASE_NAME: span.name if span.kind == "phase" else None,
        semconv.STEP_GLOBAL: span.step if is_numbered else None,
        semconv.STEP_MICRO: span.micro_step,
        semconv.SPAN_OPEN: True if span.end_ns is None else None,
        **span.attributes,
    }
    return {key: value for key, value in given.items() if value is not None}
