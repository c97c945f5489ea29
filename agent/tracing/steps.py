"""Turns raw spans into steps, and names the time between spans.

Pure. A global step ends with the engine call that increments its count, and the next step begins
there. In the training thread the time between two spans is named too: `data` before a `forward`,
because that is when batches are loaded, and `user` elsewhere. So the phases add up to the step.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import msgspec

from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.raw_spans import RawSpan

_MIN_GAP_NS = 5_000
"""Shorter gaps are the overhead of the wrappers."""
_BATCHES = (names.FORWARD, names.TRAIN_BATCH, names.EVAL_BATCH)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One global step of a rank; `number` is the engine's count before it, from 0."""

    number: int
    start_ns: int
    end_ns: int | None


def find_steps(spans: Sequence[RawSpan]) -> list[Step]:
    """Return the steps whose start was recorded; the last is open if it contains any span."""
    ends: list[RawSpan] = []

    for span in spans:
        if span.advanced and span.end_ns is not None and not (ends and ends[-1].contains(span)):
            ends.append(span)

    found: list[Step] = []

    for before, last in itertools.pairwise(ends):
        found.append(Step(number=last.global_step, start_ns=before.end_ns or 0, end_ns=last.end_ns))

    if ends and any(span.start_ns >= (ends[-1].end_ns or 0) for span in spans):
        number, start_ns = ends[-1].global_step + 1, ends[-1].end_ns or 0
        found.append(Step(number=number, start_ns=start_ns, end_ns=None))

    return found


class StepIndex:
    """Finds the step that contains a time."""

    def __init__(self, found: Sequence[Step]) -> None:
        self._found = found
        self._starts = [step.start_ns for step in found]

    def at(self, time_ns: int) -> Step | None:
        number = bisect_right(self._starts, time_ns) - 1

        if number < 0:
            return None

        step = self._found[number]
        return step if step.end_ns is None or time_ns < step.end_ns else None


def outermost(spans: Sequence[RawSpan], thread: int) -> list[RawSpan]:
    """Return the spans of a thread that are not nested in another, in order of start."""
    kept: list[RawSpan] = []

    for span in spans:
        if span.thread == thread and not (kept and kept[-1].contains(span)):
            kept.append(span)

    return kept


def gap_spans(spans: Sequence[RawSpan], thread: int) -> Iterator[RawSpan]:
    """Yield the gaps between a thread's spans, as `data` or `user`; the last one is open."""
    top = outermost(spans, thread)

    for before, after in itertools.pairwise(top):
        if before.end_ns is not None and after.start_ns - before.end_ns >= _MIN_GAP_NS:
            name = names.DATA if after.name in _BATCHES else names.USER
            yield _gap(name, before.end_ns, after.start_ns, thread)

    if top and top[-1].end_ns is not None:
        name = names.DATA if top[-1].name in (names.OPTIMIZER_STEP, *_BATCHES[1:]) else names.USER
        yield _gap(name, top[-1].end_ns, None, thread)


def _gap(name: str, start_ns: int, end_ns: int | None, thread: int) -> RawSpan:
    return RawSpan(name=name, start_ns=start_ns, end_ns=end_ns, thread=thread)
