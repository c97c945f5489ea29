"""From a harvest to the timeline of the run. Pure."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping, Sequence

from dsray_inspect.agent.model import Node
from dsray_inspect.agent.probes.ring import records
from dsray_inspect.agent.timeline import Process, Span, SpanKind, Timeline, Value
from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.capture import Rank, TraceCapture
from dsray_inspect.agent.tracing.collectives import Collective, Entry, collectives, entered, entries
from dsray_inspect.agent.tracing.inferred import number_steps
from dsray_inspect.agent.tracing.raw_spans import Clock, RawSpan, pieces, training_thread
from dsray_inspect.agent.tracing.steps import Step, Steps, gaps, steps

KINDS: dict[str, SpanKind] = {
    names.SAVE_CHECKPOINT: "checkpoint",
    names.LOAD_CHECKPOINT: "checkpoint",
    names.REPORT: "report",
    names.RAY_GET: "object",
    names.RAY_PUT: "object",
}


def timeline(harvest: TraceCapture) -> Timeline:
    """Return all spans of all ranks."""
    recorded = {n: entries(rank.recordings) for n, rank in enumerate(harvest.ranks)}
    members = {name: ranks for one in harvest.ranks for name, ranks in one.group_ranks.items()}
    all_in = entered(recorded, members)
    probed = {n: own_pieces(rank) for n, rank in enumerate(harvest.ranks)}
    known = {n: steps(found) for n, found in probed.items()}

    if not any(known.values()):
        known = number_steps(recorded, harvest)

    spans: list[Span] = []

    for n in recorded:
        in_window = [one for one in recorded[n] if is_watched(one, harvest)]
        around = sorted((one.start_ns, one.end_ns) for one in probed[n] if one.end_ns is not None)
        found = collectives(in_window, all_in, around)
        spans += of_rank(n, probed[n], steps_of_rank=known[n], found=found, members=members)

    spans.sort(key=lambda one: (one.start_ns, one.process, -(one.end_ns or 1 << 62)))
    return Timeline(
        job=harvest.job,
        run=harvest.run,
        processes=tuple(process(rank, harvest.nodes) for rank in harvest.ranks),
        spans=tuple(spans),
        from_ns=harvest.from_ns or None,
        until_ns=harvest.until_ns,
        dropped=sum(rank.dropped for rank in harvest.ranks),
        notes=tuple(notes(harvest, recorded)),
    )


def is_watched(one: Entry, harvest: TraceCapture) -> bool:
    return one.start_ns >= harvest.from_ns or not one.is_over


def process(rank: Rank, nodes: Sequence[Node]) -> Process:
    worker = rank.worker
    slots = tuple(one.uuid or str(one.slot) for one in worker.gpus)
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


def own_pieces(rank: Rank) -> list[RawSpan]:
    """Return what a rank's ring holds, and the gaps in its training thread."""
    rows = records(bytes(rank.records))
    clock = Clock(rank.wall_ns, rank.clock_ns)
    found = pieces(rows, rank.open_spans, clock, main_thread=rank.main_thread)
    thread = training_thread(rows)

    if thread:
        found += gaps(found, thread)
        found.sort(key=lambda one: (one.start_ns, -(one.end_ns or 1 << 62)))

    return found


def of_rank(
    n: int,
    probed: Sequence[RawSpan],
    *,
    steps_of_rank: Sequence[Step],
    found: Sequence[Collective],
    members: Mapping[str, Sequence[int]],
) -> Iterator[Span]:
    """Yield the spans of one rank."""
    by_time = Steps(steps_of_rank)
    inferred = not any(one.advanced for one in probed)
    firsts = first_micro_steps(probed, by_time)

    for step in steps_of_rank:
        yield Span(
            name=names.STEP,
            kind="step",
            process=n,
            start_ns=step.start_ns,
            end_ns=step.end_ns,
            step=step.number,
            attributes={names.INFERRED: True} if inferred else {},
        )

    for piece in probed:
        yield phase_span(n, piece, by_time.at(piece.start_ns), firsts)

    for one in found:
        yield collective_span(n, one, by_time.at(one.entry.start_ns), members)


def first_micro_steps(probed: Sequence[RawSpan], by_time: Steps) -> dict[int, int]:
    """Return the engine's micro step at the begin of each global step."""
    firsts: dict[int, int] = {}

    for one in probed:
        step = by_time.at(one.start_ns)

        if step is not None and one.micro_step >= 0:
            firsts[step.number] = min(one.micro_step, firsts.get(step.number, one.micro_step))

    return firsts


def phase_span(n: int, piece: RawSpan, step: Step | None, firsts: Mapping[int, int]) -> Span:
    number = step.number if step is not None else None
    micro = None

    if number is not None and piece.micro_step >= 0:
        micro = piece.micro_step - firsts.get(number, piece.micro_step)

    given: dict[str, Value | None] = {
        names.OBJECT_SIZE: piece.size_bytes,
        names.DEVICE_NS: piece.device_ns,
        names.ERROR_TYPE: "exception" if piece.failed else None,
    }
    return Span(
        name=piece.name,
        kind=KINDS.get(piece.name, "phase"),
        process=n,
        start_ns=piece.start_ns,
        end_ns=piece.end_ns,
        step=number,
        micro_step=micro,
        attributes={name: value for name, value in given.items() if value is not None},
    )


def collective_span(
    n: int, one: Collective, step: Step | None, members: Mapping[str, Sequence[int]]
) -> Span:
    entry = one.entry
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
        names.COLLECTIVE_END: one.end_source,
        names.COLLECTIVE_WAIT: one.wait_ns,
    }
    return Span(
        name=entry.operation,
        kind="collective",
        process=n,
        start_ns=entry.start_ns,
        end_ns=one.end_ns,
        step=number,
        attributes={name: value for name, value in given.items() if value is not None},
    )


def notes(harvest: TraceCapture, recorded: Mapping[int, Sequence[Entry]]) -> Iterator[str]:
    """Yield what is not in the timeline, and why."""
    yield from harvest.notes

    for n, rank in enumerate(harvest.ranks):
        if isinstance(rank.probe, str) and rank.probe != "not asked":
            yield f"{rank.name}: no phases: {rank.probe}"

        if rank.recording_why not in ("ok", "not asked"):
            yield f"{rank.name}: no collectives: {rank.recording_why}"

        yield from holes(rank, recorded[n], harvest.from_ns)

        if rank.covered:
            yield f"{rank.name}: the job put its own patch on ours: {', '.join(rank.covered)}"

        if not rank.is_out:
            yield f"{rank.name} did not let its probe go; it leaves by itself with the next call."


def holes(rank: Rank, rows: Sequence[Entry], from_ns: int) -> Iterator[str]:
    """Yield how many collectives the recorder had overwritten before they were read."""
    watched = rows[bisect.bisect_left([one.start_ns for one in rows], from_ns) :]
    lost = sum(after.id - before.id - 1 for before, after in itertools.pairwise(watched))

    if from_ns and rows and rows[0].start_ns > from_ns and rows[0].id > 0:
        yield f"{rank.name}: its recorder goes back no further than {(rows[0].start_ns - from_ns) / 1e9:.1f} s into the window"

    if lost > 0:
        yield f"{rank.name}: {lost} collectives were overwritten before they were read"
