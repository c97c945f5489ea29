"""Turns a capture into the timeline of the run. Pure."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping, Sequence

from dsray_inspect.agent.model import Node
from dsray_inspect.agent.probes.ring import records
from dsray_inspect.agent.timeline import Process, Span, SpanKind, Timeline, Value
from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.capture import Rank, TraceCapture
from dsray_inspect.agent.tracing.collectives import (
    Collective,
    Entry,
    collectives,
    entry_times,
)
from dsray_inspect.agent.tracing.inferred import infer_steps
from dsray_inspect.agent.tracing.raw_spans import Clock, RawSpan, raw_spans, training_thread
from dsray_inspect.agent.tracing.steps import Step, StepIndex, find_steps, gap_spans
from dsray_inspect.agent.unavailable import Unavailable

_KINDS: dict[str, SpanKind] = {
    names.SAVE_CHECKPOINT: "checkpoint",
    names.LOAD_CHECKPOINT: "checkpoint",
    names.REPORT: "report",
    names.RAY_GET: "object",
    names.RAY_PUT: "object",
}


def timeline(capture: TraceCapture) -> Timeline:
    """Return the spans of all ranks."""
    recorded = {index: rank.entries() for index, rank in enumerate(capture.ranks)}
    members = {name: ranks for rank in capture.ranks for name, ranks in rank.group_ranks.items()}
    times = entry_times(recorded, members)
    probed = {index: _probe_spans(rank) for index, rank in enumerate(capture.ranks)}
    steps = {index: find_steps(found) for index, found in probed.items()}

    if not any(steps.values()) and not capture.is_partial:
        steps = infer_steps(recorded, capture)

    spans: list[Span] = []

    for index in recorded:
        in_window = [entry for entry in recorded[index] if _is_in_window(entry, capture)]
        phases = sorted(
            (span.start_ns, span.end_ns) for span in probed[index] if span.end_ns is not None
        )
        found = collectives(in_window, times, phases)
        spans += _rank_spans(index, probed[index], steps=steps[index], found=found, members=members)

    spans.sort(key=lambda span: (span.start_ns, span.process, -(span.end_ns or 1 << 62)))
    return Timeline(
        job=capture.job,
        run=capture.run,
        processes=tuple(_process(rank, capture.nodes) for rank in capture.ranks),
        spans=tuple(spans),
        from_ns=capture.from_ns or None,
        until_ns=capture.until_ns,
        dropped=sum(rank.dropped for rank in capture.ranks),
        notes=tuple(_notes(capture, recorded)),
    )


def _is_in_window(entry: Entry, capture: TraceCapture) -> bool:
    return entry.start_ns >= capture.from_ns or not entry.is_over


def _process(rank: Rank, nodes: Sequence[Node]) -> Process:
    worker = rank.worker
    slots = tuple(gpu.uuid or str(gpu.slot) for gpu in worker.gpus)
    hostname = {node.node_id: node.hostname for node in nodes}.get(worker.node_id, "")
    return Process(
        role="worker",
        rank=worker.rank,
        pid=worker.pid,
        hostname=worker.hostname or hostname,
        node_id=worker.node_id,
        node_ip=worker.node_ip,
        actor_id=worker.actor_id,
        worker_id=worker.worker_id,
        gpus=slots,
    )


def _probe_spans(rank: Rank) -> list[RawSpan]:
    """Return the spans in a rank's ring, and the gaps between them in its training thread."""
    rows = records(bytes(rank.records))
    clock = Clock(rank.wall_ns, rank.clock_ns)
    found = raw_spans(rows, rank.open_spans, clock, main_thread=rank.main_thread)
    thread = training_thread(rows)

    if thread:
        found += gap_spans(found, thread)
        found.sort(key=lambda span: (span.start_ns, -(span.end_ns or 1 << 62)))

    return found


def _rank_spans(
    index: int,
    probed: Sequence[RawSpan],
    *,
    steps: Sequence[Step],
    found: Sequence[Collective],
    members: Mapping[str, Sequence[int]],
) -> Iterator[Span]:
    """Yield the spans of one rank."""
    step_index = StepIndex(steps)
    inferred = not any(span.advanced for span in probed)
    first_micro = _first_micro_steps(probed, step_index)

    for step in steps:
        yield Span(
            name=names.STEP,
            kind="step",
            process=index,
            start_ns=step.start_ns,
            end_ns=step.end_ns,
            step=step.number,
            attributes={names.INFERRED: True} if inferred else {},
        )

    for span in probed:
        yield _phase_span(index, span, step_index.at(span.start_ns), first_micro)

    for collective in found:
        step_at = step_index.at(collective.entry.start_ns)
        yield _collective_span(index, collective, step_at, members)


def _first_micro_steps(probed: Sequence[RawSpan], step_index: StepIndex) -> dict[int, int]:
    """Return the engine's micro step at the start of each global step."""
    firsts: dict[int, int] = {}

    for span in probed:
        step = step_index.at(span.start_ns)

        if step is not None and span.micro_step >= 0:
            firsts[step.number] = min(span.micro_step, firsts.get(step.number, span.micro_step))

    return firsts


def _phase_span(
    index: int, raw: RawSpan, step: Step | None, first_micro: Mapping[int, int]
) -> Span:
    number = step.number if step is not None else None
    micro = None

    if number is not None and raw.micro_step >= 0:
        micro = raw.micro_step - first_micro.get(number, raw.micro_step)

    given: dict[str, Value | None] = {
        names.OBJECT_SIZE: raw.size_bytes,
        names.DEVICE_NS: raw.device_ns,
        names.ERROR_TYPE: "exception" if raw.failed else None,
    }
    return Span(
        name=raw.name,
        kind=_KINDS.get(raw.name, "phase"),
        process=index,
        start_ns=raw.start_ns,
        end_ns=raw.end_ns,
        step=number,
        micro_step=micro,
        attributes={name: value for name, value in given.items() if value is not None},
    )


def _collective_span(
    index: int, collective: Collective, step: Step | None, members: Mapping[str, Sequence[int]]
) -> Span:
    entry = collective.entry
    number = step.number if step is not None else None
    size = len(members[entry.group]) if entry.group in members else None
    given: dict[str, Value | None] = {
        names.COLLECTIVE_SYSTEM: entry.system,
        names.COLLECTIVE_OPERATION: entry.operation,
        names.COLLECTIVE_GROUP: entry.group,
        names.COLLECTIVE_GROUP_SIZE: size,
        names.COLLECTIVE_SEQUENCE: entry.sequence,
        names.COLLECTIVE_SIZE: entry.size_bytes,
        names.COLLECTIVE_DTYPE: entry.dtype,
        names.COLLECTIVE_P2P: True if entry.is_p2p else None,
        names.COLLECTIVE_END: collective.end_source,
        names.COLLECTIVE_WAIT: collective.wait_ns,
    }
    return Span(
        name=entry.operation,
        kind="collective",
        process=index,
        start_ns=entry.start_ns,
        end_ns=collective.end_ns,
        step=number,
        attributes={name: value for name, value in given.items() if value is not None},
    )


def _notes(capture: TraceCapture, recorded: Mapping[int, Sequence[Entry]]) -> Iterator[str]:
    """Yield what is missing in the timeline, and why."""
    yield from capture.notes

    for index, rank in enumerate(capture.ranks):
        if isinstance(rank.probe, Unavailable) and rank.probe.reason != "not_asked":
            yield f"{rank.name}: no phases: {rank.probe}"

        if rank.no_recording is not None and rank.no_recording.reason != "not_asked":
            yield f"{rank.name}: no collectives: {rank.no_recording}"

        yield from _recorder_gaps(rank, recorded[index], capture.from_ns)

        if rank.covered:
            yield f"{rank.name}: the job patched functions after the probe did: {', '.join(rank.covered)}"

        if not rank.is_out:
            yield (
                f"{rank.name}: its probe could not be removed; it uninstalls itself on the next "
                "instrumented call."
            )


def _recorder_gaps(rank: Rank, rows: Sequence[Entry], from_ns: int) -> Iterator[str]:
    """Yield how many collectives were overwritten in the recorder before they could be read."""
    watched = rows[bisect.bisect_left([row.start_ns for row in rows], from_ns) :]
    lost = sum(after.id - before.id - 1 for before, after in itertools.pairwise(watched))

    if from_ns and rows and rows[0].start_ns > from_ns and rows[0].id > 0:
        yield (
            f"{rank.name}: its recorder starts only {(rows[0].start_ns - from_ns) / 1e9:.1f} s into the "
            "traced period"
        )

    if lost > 0:
        yield f"{rank.name}: {lost} collectives were overwritten before they were read"
