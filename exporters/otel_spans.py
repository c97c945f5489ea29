"""A `Timeline` as OpenTelemetry's traces: which span belongs to which trace, under which parent.

One trace is one global step, over all ranks: its root spans them all, below it is each rank's
step, below that what the rank was in. The start of the run is a trace of its own, and every
step's root links to it. A collective of no known step is a trace of its own over its ranks.

Steps that were told from the pattern of collectives are counted from the oldest one that was
recorded: from one timeline to the next they have other numbers. What tells them apart is the
number of the collective that they begin with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.timeline import Process, Span, Timeline, Value
from dsray_inspect.exporters import semconv, span_ids

STEP_ROOT: Final = "train.step"
START_ROOT: Final = "train.start"
TOP_DOWN: Final = {"startup": 0, "step": 0}
"""Of two spans with the same times, those of these kinds hold the other."""

AttributeValue = Value | tuple[str, ...]


class OtelSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One span as it will be sent."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, AttributeValue]
    link: tuple[int, int] | None = None
    """Trace and span that it links to."""
    is_open: bool = False
    error: str | None = None


class Trace(msgspec.Struct, kw_only=True):
    """What of a timeline belongs to one trace, and the name of its root."""

    key: int | str
    root: str
    step: int | None = None
    """Its number in the timeline."""
    spans: list[Span] = msgspec.field(default_factory=list)


def planned(timeline: Timeline, *, whole: bool = False) -> Iterator[OtelSpan]:
    """Yield the spans of every trace that is over; with `whole` of all, the open ones cut off.

    A trace is over when none of its spans is open, a step when every rank is in a later one;
    what is not over comes with a later timeline.
    """
    last_ns = max((one.end_ns or one.start_ns for one in timeline.spans), default=0)
    last_ns = max(last_ns, timeline.until_ns or 0)
    reached = reached_by_all(timeline)

    for trace in traces(timeline):
        is_over = all(span.end_ns is not None for span in trace.spans)

        if trace.step is not None:
            is_over = is_over and trace.step < reached

        if whole or is_over:
            yield from spans_of(trace, timeline, last_ns)


def reached_by_all(timeline: Timeline) -> int:
    """Return the step that every process which makes steps has come to."""
    newest: dict[int, int] = {}

    for span in timeline.spans:
        if span.step is not None:
            newest[span.process] = max(newest.get(span.process, span.step), span.step)

    return min(newest.values(), default=0)


def traces(timeline: Timeline) -> list[Trace]:
    """Return the spans by trace, in the order of the traces' starts."""
    found: dict[int | str, Trace] = {}
    anchors = anchors_of(timeline)

    for span in timeline.spans:
        key, root = home(span, timeline)
        key = anchors.get(key, key) if root == STEP_ROOT else key
        found.setdefault(key, Trace(key=key, root=root, step=span.step)).spans.append(span)

    return list(found.values())


def anchors_of(timeline: Timeline) -> dict[int | str, str]:
    """Return, for each step that was inferred, the collective that it begins with."""
    inferred = {
        span.step
        for span in timeline.spans
        if span.kind == "step" and span.attributes.get(semconv.STEP_INFERRED)
    }
    firsts: dict[int | str, str] = {}

    for span in sorted(timeline.spans, key=lambda one: one.start_ns):
        meeting = meeting_of(span)

        if span.step in inferred and span.step is not None and meeting is not None:
            firsts.setdefault(span.step, f"inferred/{meeting}")

    return firsts


def meeting_of(span: Span) -> str | None:
    """Return what is equal on all ranks of one collective."""
    group = span.attributes.get(semconv.COLLECTIVE_GROUP)
    sequence = span.attributes.get(semconv.COLLECTIVE_SEQUENCE)
    known = span.kind == "collective" and group is not None and sequence is not None
    return f"{group}/{sequence}" if known else None


def home(span: Span, timeline: Timeline) -> tuple[int | str, str]:
    """Return what tells the trace of a span apart from others, and the name of its root."""
    if span.step is not None:
        return span.step, STEP_ROOT

    if span.kind == "startup":
        return span_ids.START, START_ROOT

    meeting = meeting_of(span)

    if meeting is not None:
        return f"collective/{meeting}", span.name

    return f"{name_of(timeline.processes[span.process])}/{span.name}/{span.start_ns}", span.name


def name_of(process: Process) -> str:
    return str(process.rank) if process.rank is not None else process.role


def spans_of(trace: Trace, timeline: Timeline, last_ns: int) -> Iterator[OtelSpan]:
    """Yield the root of a trace and everything below it."""
    run_id, attempt = identity(timeline)
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
        end_ns=max(ends_at(span, last_ns) for span in trace.spans),
        attributes=run_attributes(timeline, trace),
        link=None if is_start else (start, span_ids.span_id(start, "", START_ROOT, 0)),
        is_open=any(span.end_ns is None for span in trace.spans),
    )

    for process in sorted({span.process for span in trace.spans}):
        own = [span for span in trace.spans if span.process == process]
        place = (trace_id, root_id, trace.step == trace.key)
        yield from below(own, timeline.processes[process], place, last_ns=last_ns)


def below(
    spans: Sequence[Span], process: Process, place: tuple[int, int, bool], *, last_ns: int
) -> Iterator[OtelSpan]:
    """Yield the spans of one process in a trace, each under the innermost one that holds it.

    `place`: the trace, its root, and whether the steps' numbers are the engine's.
    """
    trace_id, root_id, is_numbered = place
    counts: dict[str, int] = {}
    open_ones: list[tuple[int, int]] = []
    """End and id of the spans that hold what comes next, the innermost last."""

    for span in sorted(spans, key=lambda one: order(one, last_ns)):
        end_ns = ends_at(span, last_ns)

        while open_ones and open_ones[-1][0] < end_ns:
            open_ones.pop()

        n = counts.get(span.name, 0)
        counts[span.name] = n + 1
        own_id = span_ids.span_id(trace_id, name_of(process), span.name, n)
        error = span.attributes.get(semconv.ERROR_TYPE)
        yield OtelSpan(
            trace_id=trace_id,
            span_id=own_id,
            parent_id=open_ones[-1][1] if open_ones else root_id,
            name=span.name,
            start_ns=span.start_ns,
            end_ns=end_ns,
            attributes=span_attributes(span, process, is_numbered=is_numbered),
            is_open=span.end_ns is None,
            error=str(error) if error is not None else None,
        )

        # Collectives may overlap each other: none holds another.
        if span.kind != "collective":
            open_ones.append((end_ns, own_id))


def order(span: Span, last_ns: int) -> tuple[int, int, int]:
    """Return what sorts spans by their start, those that hold others first."""
    return (span.start_ns, -ends_at(span, last_ns), TOP_DOWN.get(span.kind, 1))


def ends_at(span: Span, last_ns: int) -> int:
    return max(span.start_ns, last_ns if span.end_ns is None else span.end_ns)


def identity(timeline: Timeline) -> tuple[str, str]:
    """Return run and attempt, as far as Ray Train told them."""
    run = timeline.run
    run_id = (run.id if run else None) or timeline.job.job_id
    return run_id, (run.attempt if run else None) or ""


def run_attributes(timeline: Timeline, trace: Trace) -> dict[str, AttributeValue]:
    run_id, attempt = identity(timeline)
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


def span_attributes(
    span: Span, process: Process, *, is_numbered: bool
) -> dict[str, AttributeValue]:
    """Return a span's own attributes and those of its process."""
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
