"""Turns the records of a ring into spans: what a rank was doing, by the clock of its node.

Pure. A method that calls its base class is recorded twice, nested; the outer record counts.
`backward` is the duration of `engine.backward`, or, for scripts that call `loss.backward()`, the
time from the engine's prologue to its epilogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.tracing import names

_NAMES = {
    wire.FORWARD: names.FORWARD,
    wire.BACKWARD: names.BACKWARD,
    wire.STEP: names.OPTIMIZER_STEP,
    wire.TRAIN_BATCH: names.TRAIN_BATCH,
    wire.EVAL_BATCH: names.EVAL_BATCH,
    wire.GRAD_REDUCE: names.GRAD_REDUCE,
    wire.SAVE_CHECKPOINT: names.SAVE_CHECKPOINT,
    wire.LOAD_CHECKPOINT: names.LOAD_CHECKPOINT,
    wire.ZERO_GATHER: names.ZERO_GATHER,
    wire.ZERO_PARTITION: names.ZERO_PARTITION,
    wire.REPORT: names.REPORT,
    wire.OBJECT_GET: names.RAY_GET,
    wire.OBJECT_PUT: names.RAY_PUT,
}
_COUNTED = frozenset([wire.FORWARD, wire.BACKWARD, wire.STEP, wire.TRAIN_BATCH, wire.EVAL_BATCH])
"""Codes whose records contain global and micro step."""
_SIZES = {wire.SERIALIZE: names.RAY_PUT, wire.DESERIALIZE: names.RAY_GET}


class Clock(msgspec.Struct, frozen=True):
    """One instant in both clocks of a node."""

    wall_ns: int
    clock_ns: int

    def wall(self, clock_ns: int) -> int:
        """Convert CLOCK_MONOTONIC to Unix time."""
        return clock_ns - self.clock_ns + self.wall_ns


class RawSpan(msgspec.Struct, kw_only=True):
    """One interval in one thread; `end_ns` is None while it lasts."""

    name: str
    start_ns: int
    end_ns: int | None
    thread: int = 0
    global_step: int = -1
    micro_step: int = -1
    failed: bool = False
    advanced: bool = False
    """Whether the global step increased in it."""
    size_bytes: int | None = None
    device_ns: int | None = None

    def contains(self, other: RawSpan) -> bool:
        return self.start_ns <= other.start_ns and (
            self.end_ns is None or (other.end_ns is not None and other.end_ns <= self.end_ns)
        )


def raw_spans(
    rows: Iterable[tuple[int, ...]],
    open_spans: Sequence[tuple[int, int]],
    clock: Clock,
    *,
    main_thread: int = 0,
) -> list[RawSpan]:
    """Return the spans of one rank in order of start, enclosing ones first.

    Gets and puts by Ray's own tasks on the main thread are left out if another thread trains.
    """
    kept = list(rows)
    trainer = training_thread(kept)
    found = [_span_of(row, clock) for row in kept if row[3] & wire.CODE_MASK in _NAMES]
    found += _direct_backwards(kept, clock)
    found += [
        RawSpan(name=_NAMES[code], start_ns=clock.wall(start), end_ns=None, thread=trainer)
        for start, code in open_spans
        if code in _NAMES
    ]
    found.sort(key=lambda span: (span.start_ns, -(span.end_ns or 1 << 62)))
    _add_sizes(found, kept, clock)
    _add_device_times(found, kept, clock)
    return [
        span
        for span in _without_nested(found)
        if span.thread != main_thread
        or main_thread in (0, trainer)
        or span.name not in (names.RAY_GET, names.RAY_PUT)
    ]


def training_thread(rows: Iterable[tuple[int, ...]]) -> int:
    """Return the thread that calls the engine, 0 if none does."""
    counts: dict[int, int] = {}

    for row in rows:
        if row[3] & wire.CODE_MASK in (wire.FORWARD, wire.STEP, wire.TRAIN_BATCH, wire.REPORT):
            counts[row[6]] = counts.get(row[6], 0) + 1

    return max(counts, key=lambda thread: counts[thread], default=0)


def _span_of(row: tuple[int, ...], clock: Clock) -> RawSpan:
    _, start, end, code, first, second, thread = row
    counted = code & wire.CODE_MASK in _COUNTED
    return RawSpan(
        name=_NAMES[code & wire.CODE_MASK],
        start_ns=clock.wall(start),
        end_ns=clock.wall(end),
        thread=thread,
        global_step=first if counted else -1,
        micro_step=second if counted else -1,
        failed=bool(code & wire.FAILED),
        advanced=bool(code & wire.ADVANCED),
    )


def _direct_backwards(rows: Sequence[tuple[int, ...]], clock: Clock) -> list[RawSpan]:
    """Return a span from each prologue to the next epilogue.

    A prologue without an epilogue is open if no other engine record follows; else it failed, and its
    end is unknown.
    """
    edges = (wire.BACKWARD_PROLOGUE, wire.BACKWARD_EPILOGUE)
    after = (*edges, wire.FORWARD, wire.STEP)
    found: list[RawSpan] = []
    prologue: tuple[int, ...] | None = None

    for row in sorted(rows, key=lambda row: row[1]):
        code = row[3] & wire.CODE_MASK

        if prologue is not None and code == wire.BACKWARD_EPILOGUE:
            found.append(_backward_span(prologue, clock, end=row[2]))

        if code == wire.BACKWARD_PROLOGUE:
            prologue = row
        elif code in after:
            prologue = None

    if prologue is not None and not _is_inside_backward(prologue, rows):
        found.append(_backward_span(prologue, clock, end=None))

    return found


def _is_inside_backward(prologue: tuple[int, ...], rows: Iterable[tuple[int, ...]]) -> bool:
    return any(
        row[3] & wire.CODE_MASK == wire.BACKWARD and row[1] <= prologue[1] and prologue[2] <= row[2]
        for row in rows
    )


def _backward_span(prologue: tuple[int, ...], clock: Clock, *, end: int | None) -> RawSpan:
    return RawSpan(
        name=names.BACKWARD,
        start_ns=clock.wall(prologue[1]),
        end_ns=None if end is None else clock.wall(end),
        thread=prologue[6],
        global_step=prologue[4],
        micro_step=prologue[5],
    )


def _without_nested(found: Sequence[RawSpan]) -> list[RawSpan]:
    """Drop spans nested in one of the same name; `found` is sorted by start."""
    latest: dict[str, RawSpan] = {}
    kept: list[RawSpan] = []

    for span in found:
        outer = latest.get(span.name)

        if outer is not None and outer.contains(span):
            outer.advanced = outer.advanced or span.advanced
            continue

        latest[span.name] = span
        kept.append(span)
        batch = latest.get(names.TRAIN_BATCH)

        if batch is not None and batch.contains(span):
            span.micro_step = -1  # PipelineEngine counts micro steps only at the end of the batch

    return kept


def _add_sizes(found: Sequence[RawSpan], rows: Iterable[tuple[int, ...]], clock: Clock) -> None:
    """Add to each get and put the bytes that were (de)serialized in it."""
    for row in rows:
        name = _SIZES.get(row[3] & wire.CODE_MASK)

        if name is None:
            continue

        inner = RawSpan(name=name, start_ns=clock.wall(row[1]), end_ns=clock.wall(row[2]))

        for span in found:
            if span.name == name and span.thread == row[6] and span.contains(inner):
                span.size_bytes = (span.size_bytes or 0) + row[5]


def _add_device_times(
    found: Sequence[RawSpan], rows: Iterable[tuple[int, ...]], clock: Clock
) -> None:
    """Add to each span its time on the device, where that was measured."""
    times: dict[tuple[str | None, int, int | None], int] = {
        (_NAMES.get(row[4]), clock.wall(row[1]), clock.wall(row[2])): row[5]
        for row in rows
        if row[3] & wire.CODE_MASK == wire.DEVICE
    }

    if times:
        for span in found:
            span.device_ns = times.get((span.name, span.start_ns, span.end_ns))
