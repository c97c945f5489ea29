"""A `Timeline` as a trace file that Perfetto and chrome://tracing open.

The form is Chrome's Trace Event JSON. Each process of the timeline is a process of the trace,
numbered from 1 in the order they are shown, since pids of different hosts may be equal. Times
count microseconds from the first span; `otherData` has when that was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from dsray_inspect.agent.timeline import Process, Span, SpanKind, Timeline
from dsray_inspect.agent.tracing.collectives import collective_id
from dsray_inspect.exporters import semconv
from dsray_inspect.exporters.track_layout import assign_lanes

Event = dict[str, Any]
_TRACKS: Final[dict[SpanKind, str]] = {
    "startup": "start-up",
    "step": "steps",
    "phase": "phases",
    "checkpoint": "phases",
    "report": "phases",
    "object": "phases",
    "collective": "collectives",
}
"""The track of each kind of span; those that share one happen in the same thread."""
_ORDER: Final = ("start-up", "steps", "phases", "collectives")
_LANES: Final = 100
"""Threads are numbered in hundreds by their track, so that the lanes of a track are adjacent."""
_ROLES: Final = ("driver", "controller", "worker")


class Placed(msgspec.Struct, frozen=True):
    """A span and where it is drawn."""

    span: Span
    pid: int
    tid: int
    incarnation: int
    """Counts the processes that had this rank, so that restarted groups stay apart."""


def encode(timeline: Timeline) -> bytes:
    """Return the whole file."""
    return msgspec.json.encode(document(timeline))


def document(timeline: Timeline) -> dict[str, Any]:
    origin_ns = min((span.start_ns for span in timeline.spans), default=0)
    placed = _place(timeline)
    names = list(_metadata(timeline, placed))
    drawn = [_slice_of(placed_span, origin_ns) for placed_span in placed] + list(
        _flows(placed, origin_ns)
    )
    # Equal starts: the enclosing span comes first, and a flow after the slice that it leaves.
    drawn.sort(key=lambda event: (event["ts"], event["ph"] in "stf", -event.get("dur", 1e18)))
    return {
        "displayTimeUnit": "ms",
        "otherData": {
            "tool": "dsray-inspect",
            "origin_unix_ns": str(origin_ns),
            "job": timeline.job.label,
            "run": (timeline.run.id or "") if timeline.run else "",
            "run_name": (timeline.run.name or "") if timeline.run else "",
            "dropped_records": str(timeline.dropped),
            "notes": "\n".join(timeline.notes),
        },
        "traceEvents": names + drawn,
    }


def _shown_order(processes: Sequence[Process]) -> list[int]:
    """Return the indexes of the processes as they are shown: driver, controller, ranks."""
    return sorted(
        range(len(processes)),
        key=lambda index: (
            _ROLES.index(processes[index].role),
            processes[index].rank is None,
            processes[index].rank or 0,
            index,
        ),
    )


def _name_of(process: Process) -> str:
    """Return "rank 0 · host · GPU 3", or what is known of it."""
    who = f"rank {process.rank}" if process.rank is not None else process.role
    return " · ".join((who, process.hostname or process.node_ip, *map(_gpu_name, process.gpus)))


def _gpu_name(gpu: str) -> str:
    return gpu if gpu.upper().startswith(("GPU", "MIG")) else f"GPU {gpu}"


def _place(timeline: Timeline) -> list[Placed]:
    """Return every span with its process and thread of the trace, in the order of their starts."""
    numbers = {index: n + 1 for n, index in enumerate(_shown_order(timeline.processes))}
    incarnations = _incarnations_of(timeline)
    # Open spans are drawn beyond all others.
    after_ns = timeline.last_ns + 1
    by_start = sorted(
        timeline.spans, key=lambda span: (span.start_ns, -span.end_by(after_ns), span.process)
    )
    tracks: dict[tuple[int, str], list[Span]] = {}

    for span in by_start:
        tracks.setdefault((span.process, _TRACKS[span.kind]), []).append(span)

    placed = []

    for (process, track), spans in tracks.items():
        first = (_ORDER.index(track) + 1) * _LANES
        chosen = assign_lanes([(span.start_ns, span.end_by(after_ns)) for span in spans])
        placed += [
            Placed(span, numbers[process], first + min(lane, _LANES - 1), incarnations[process])
            for span, lane in zip(spans, chosen, strict=True)
        ]

    return sorted(
        placed,
        key=lambda placed_span: (placed_span.span.start_ns, placed_span.pid, placed_span.tid),
    )


def _incarnations_of(timeline: Timeline) -> list[int]:
    """Return per process how many had its rank before it, by when their spans begin."""
    begins: dict[int, int] = {}

    for span in timeline.spans:
        begins[span.process] = min(begins.get(span.process, span.start_ns), span.start_ns)

    counts: dict[int | None, int] = {}
    found = [0] * len(timeline.processes)

    for index in sorted(range(len(found)), key=lambda number: (begins.get(number, 0), number)):
        rank = timeline.processes[index].rank
        found[index] = counts.get(rank, 0)
        counts[rank] = found[index] + 1

    return found


def _metadata(timeline: Timeline, placed: Iterable[Placed]) -> Iterator[Event]:
    """Yield the names of processes and threads."""
    for number, index in enumerate(_shown_order(timeline.processes), start=1):
        process = timeline.processes[index]
        yield _named("process_name", number, 0, {"name": _name_of(process)})
        yield _named("process_sort_index", number, 0, {"sort_index": number})
        labels = f"pid {process.pid}, node {process.node_id[:8]}"
        yield _named("process_labels", number, 0, {"labels": labels})

    for pid, tid in sorted({(placed_span.pid, placed_span.tid) for placed_span in placed}):
        track, lane = _ORDER[tid // _LANES - 1], tid % _LANES
        yield _named("thread_name", pid, tid, {"name": f"{track} {lane + 1}" if lane else track})
        yield _named("thread_sort_index", pid, tid, {"sort_index": tid})


def _named(what: str, pid: int, tid: int, args: dict[str, Any]) -> Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": args}


def _microseconds(since_ns: int) -> float:
    return since_ns / 1000


def _slice_of(placed: Placed, origin_ns: int) -> Event:
    """Return the span as a complete event; as a begin without an end while it is open."""
    span = placed.span
    event: Event = {
        "ph": "B" if span.end_ns is None else "X",
        "name": span.name,
        "cat": span.kind,
        "pid": placed.pid,
        "tid": placed.tid,
        "ts": _microseconds(span.start_ns - origin_ns),
        "args": _args_of(span),
    }

    if span.end_ns is not None:
        event["dur"] = _microseconds(max(0, span.end_ns - span.start_ns))

    return event


def _args_of(span: Span) -> dict[str, Any]:
    args: dict[str, Any] = dict(span.attributes)

    if span.step is not None:
        args[semconv.STEP_GLOBAL] = span.step

    if span.micro_step is not None:
        args[semconv.STEP_MICRO] = span.micro_step

    if span.end_ns is None:
        args[semconv.SPAN_OPEN] = True

    return args


CollectiveKey = tuple[str, bool, int]
"""Id of the collective, point-to-point, incarnation: equal on all of its ranks."""


def _collective_key(placed: Placed) -> CollectiveKey | None:
    found = collective_id(placed.span)
    is_p2p = bool(placed.span.attributes.get(semconv.COLLECTIVE_P2P))
    return (found, is_p2p, placed.incarnation) if found is not None else None


def _flows(placed: Iterable[Placed], origin_ns: int) -> Iterator[Event]:
    """Yield arrows through each collective, from the rank that entered it first to the last."""
    collectives: dict[CollectiveKey, dict[int, Placed]] = {}

    for placed_span in placed:
        key = _collective_key(placed_span)

        if key is not None:
            # Coalesced operations share a number: the first stands for them.
            collectives.setdefault(key, {}).setdefault(placed_span.pid, placed_span)

    numbers = itertools.count(1)

    for ranks in collectives.values():
        if len(ranks) > 1:
            yield from _flow(list(ranks.values()), next(numbers), origin_ns)


def _flow(stops: list[Placed], number: int, origin_ns: int) -> Iterator[Event]:
    """Yield one arrow through all stops, which are in the order of their starts."""
    for at, stop in enumerate(stops):
        last = at == len(stops) - 1
        yield {
            "ph": "s" if at == 0 else "f" if last else "t",
            "name": stop.span.name,
            "cat": "collective",
            "id": number,
            "pid": stop.pid,
            "tid": stop.tid,
            "ts": _microseconds(stop.span.start_ns - origin_ns),
            **({"bp": "e"} if last else {}),
        }
