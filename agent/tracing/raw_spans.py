"""From a ring's records to pieces of time: what a rank was in, by the clock of its node.

Pure. A function that calls its own base class is seen twice, one in the other: the outer counts.
`backward` is what `engine.backward` spans; where a script calls `loss.backward()` it goes from
the engine's prologue to its epilogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.tracing import names

NAMES = {
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
COUNTED = frozenset([wire.FORWARD, wire.BACKWARD, wire.STEP, wire.TRAIN_BATCH, wire.EVAL_BATCH])
"""Codes whose records hold global and micro step."""
SIZES = {wire.SERIALIZE: names.RAY_PUT, wire.DESERIALIZE: names.RAY_GET}


class Clock(msgspec.Struct, frozen=True):
    """One instant by both clocks of a node."""

    wall_ns: int
    clock_ns: int

    def wall(self, clock_ns: int) -> int:
        """Return the Unix time of a time of CLOCK_MONOTONIC."""
        return clock_ns - self.clock_ns + self.wall_ns


class RawSpan(msgspec.Struct, kw_only=True):
    """One stretch of time in one thread; `end_ns` is None while it lasts."""

    name: str
    start_ns: int
    end_ns: int | None
    thread: int = 0
    global_step: int = -1
    micro_step: int = -1
    failed: bool = False
    advanced: bool = False
    """Whether the global step is higher after it."""
    size_bytes: int | None = None
    device_ns: int | None = None

    def holds(self, other: RawSpan) -> bool:
        return self.start_ns <= other.start_ns and (
            self.end_ns is None or (other.end_ns is not None and other.end_ns <= self.end_ns)
        )


def pieces(
    rows: Iterable[tuple[int, ...]],
    open_spans: Sequence[tuple[int, int]],
    clock: Clock,
    *,
    main_thread: int = 0,
) -> list[RawSpan]:
    """Return the pieces of one rank, by their start, enclosing ones first.

    What Ray's own tasks get and put on the main thread is left out, where that is not the one
    that trains.
    """
    kept = list(rows)
    trains = training_thread(kept)
    found = [named(row, clock) for row in kept if row[3] & wire.CODE_MASK in NAMES]
    found += direct_backwards(kept, clock)
    found += [
        RawSpan(name=NAMES[code], start_ns=clock.wall(start), end_ns=None, thread=trains)
        for start, code in open_spans
        if code in NAMES
    ]
    found.sort(key=lambda one: (one.start_ns, -(one.end_ns or 1 << 62)))
    add_sizes(found, kept, clock)
    add_device_times(found, kept, clock)
    return [
        one
        for one in without_nested(found)
        if one.thread != main_thread
        or main_thread in (0, trains)
        or one.name not in (names.RAY_GET, names.RAY_PUT)
    ]


def training_thread(rows: Iterable[tuple[int, ...]]) -> int:
    """Return the thread in which the engine is called, 0 where none is."""
    counts: dict[int, int] = {}

    for row in rows:
        if row[3] & wire.CODE_MASK in (wire.FORWARD, wire.STEP, wire.TRAIN_BATCH, wire.REPORT):
            counts[row[6]] = counts.get(row[6], 0) + 1

    return max(counts, key=lambda thread: counts[thread], default=0)


def named(row: tuple[int, ...], clock: Clock) -> RawSpan:
    _, start, end, code, first, second, thread = row
    counted = code & wire.CODE_MASK in COUNTED
    return RawSpan(
        name=NAMES[code & wire.CODE_MASK],
        start_ns=clock.wall(start),
        end_ns=clock.wall(end),
        thread=thread,
        global_step=first if counted else -1,
        micro_step=second if counted else -1,
        failed=bool(code & wire.FAILED),
        advanced=bool(code & wire.ADVANCED),
    )


def direct_backwards(rows: Sequence[tuple[int, ...]], clock: Clock) -> list[RawSpan]:
    """Return what lies from each prologue to the next epilogue.

    A prologue without an epilogue is open if nothing of the engine came after it, else it
    failed, and its end is not known.
    """
    edges = (wire.BACKWARD_PROLOGUE, wire.BACKWARD_EPILOGUE)
    after = (*edges, wire.FORWARD, wire.STEP)
    found: list[RawSpan] = []
    prologue: tuple[int, ...] | None = None

    for row in sorted(rows, key=lambda row: row[1]):
        code = row[3] & wire.CODE_MASK

        if prologue is not None and code == wire.BACKWARD_EPILOGUE:
            found.append(between(prologue, clock, end=row[2]))

        if code == wire.BACKWARD_PROLOGUE:
            prologue = row
        elif code in after:
            prologue = None

    if prologue is not None and not is_inside_backward(prologue, rows):
        found.append(between(prologue, clock, end=None))

    return found


def is_inside_backward(prologue: tuple[int, ...], rows: Iterable[tuple[int, ...]]) -> bool:
    return any(
        row[3] & wire.CODE_MASK == wire.BACKWARD and row[1] <= prologue[1] and prologue[2] <= row[2]
        for row in rows
    )


def between(prologue: tuple[int, ...], clock: Clock, *, end: int | None) -> RawSpan:
    return RawSpan(
        name=names.BACKWARD,
        start_ns=clock.wall(prologue[1]),
        end_ns=None if end is None else clock.wall(end),
        thread=prologue[6],
        global_step=prologue[4],
        micro_step=prologue[5],
    )


def without_nested(found: Sequence[RawSpan]) -> list[RawSpan]:
    """Drop pieces that lie in one of the same name; `found` is sorted by start."""
    latest: dict[str, RawSpan] = {}
    kept: list[RawSpan] = []

    for one in found:
        outer = latest.get(one.name)

        if outer is not None and outer.holds(one):
            outer.advanced = outer.advanced or one.advanced
            continue

        latest[one.name] = one
        kept.append(one)
        batch = latest.get(names.TRAIN_BATCH)

        if batch is not None and batch.holds(one):
            one.micro_step = -1  # PipelineEngine counts them when the batch is done

    return kept


def add_sizes(found: Sequence[RawSpan], rows: Iterable[tuple[int, ...]], clock: Clock) -> None:
    """Give each get and put the bytes that were (de)serialized in it."""
    for row in rows:
        name = SIZES.get(row[3] & wire.CODE_MASK)

        if name is None:
            continue

        inner = RawSpan(name=name, start_ns=clock.wall(row[1]), end_ns=clock.wall(row[2]))

        for one in found:
            if one.name == name and one.thread == row[6] and one.holds(inner):
                one.size_bytes = (one.size_bytes or 0) + row[5]


def add_device_times(
    found: Sequence[RawSpan], rows: Iterable[tuple[int, ...]], clock: Clock
) -> None:
    """Give each piece the time that the device took for it, where there is one."""
    times: dict[tuple[str | None, int, int | None], int] = {
        (NAMES.get(row[4]), clock.wall(row[1]), clock.wall(row[2])): row[5]
        for row in rows
        if row[3] & wire.CODE_MASK == wire.DEVICE
    }

    if times:
        for one in found:
            one.device_ns = times.get((one.name, one.start_ns, one.end_ns))
