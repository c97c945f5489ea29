"""From pieces to steps: where one begins and ends, and what its time went into.

Pure. A global step ends with the call of the engine that makes its count higher, and there the
next begins. In the training thread all time between two pieces has a name too: `data` before a
`forward`, which is where batches come from, `user` elsewhere. So phases add up to the step.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import msgspec

from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.raw_spans import RawSpan

LEAST_NS = 5_000
"""Shorter gaps are the wrappers' own."""
BATCHES = (names.FORWARD, names.TRAIN_BATCH, names.EVAL_BATCH)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One global step of a rank; `number` counts from 0, as the engine does before it."""

    number: int
    start_ns: int
    end_ns: int | None


def steps(pieces: Sequence[RawSpan]) -> list[Step]:
    """Return the steps whose begin was seen, the last one open if anything of it was."""
    ends: list[RawSpan] = []

    for one in pieces:
        if one.advanced and one.end_ns is not None and not (ends and ends[-1].holds(one)):
            ends.append(one)

    found: list[Step] = []

    for before, last in itertools.pairwise(ends):
        found.append(Step(number=last.global_step, start_ns=before.end_ns or 0, end_ns=last.end_ns))

    if ends and any(one.start_ns >= (ends[-1].end_ns or 0) for one in pieces):
        number, start_ns = ends[-1].global_step + 1, ends[-1].end_ns or 0
        found.append(Step(number=number, start_ns=start_ns, end_ns=None))

    return found


class Steps:
    """Finds the step of a time."""

    def __init__(self, found: Sequence[Step]) -> None:
        self._found = found
        self._starts = [one.start_ns for one in found]

    def at(self, time_ns: int) -> Step | None:
        number = bisect_right(self._starts, time_ns) - 1

        if number < 0:
            return None

        one = self._found[number]
        return one if one.end_ns is None or time_ns < one.end_ns else None


def outermost(pieces: Sequence[RawSpan], thread: int) -> list[RawSpan]:
    """Return the thread's pieces that lie in no other of them, by their start."""
    kept: list[RawSpan] = []

    for one in pieces:
        if one.thread == thread and not (kept and kept[-1].holds(one)):
            kept.append(one)

    return kept


def gaps(pieces: Sequence[RawSpan], thread: int) -> Iterator[RawSpan]:
    """Yield the time of a thread that is in no piece, as `data` or `user`; the last is open."""
    top = outermost(pieces, thread)

    for before, after in itertools.pairwise(top):
        if before.end_ns is not None and after.start_ns - before.end_ns >= LEAST_NS:
            name = names.DATA if after.name in BATCHES else names.USER
            yield gap(name, before.end_ns, after.start_ns, thread)

    if top and top[-1].end_ns is not None:
        name = names.DATA if top[-1].name in (names.OPTIMIZER_STEP, *BATCHES[1:]) else names.USER
        yield gap(name, top[-1].end_ns, None, thread)


def gap(name: str, start_ns: int, end_ns: int | None, thread: int) -> RawSpan:
    return RawSpan(name=name, start_ns=start_ns, end_ns=end_ns, thread=thread)
