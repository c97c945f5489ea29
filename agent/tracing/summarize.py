"""Summarizes a timeline: where the time of steps went, which rank is late, what never ended.

Pure, and computed from the timeline alone, so a saved one gives the same summary.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from dsray_inspect.agent.lateness import WORTH_TELLING_SHARE, is_late, meeting
from dsray_inspect.agent.timeline import Span, Timeline
from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.collectives import collective_id
from dsray_inspect.agent.tracing.summary import (
    Change,
    CollectiveSummary,
    RankSummary,
    Stuck,
    Summary,
)

IN_STEP = ("phase", "checkpoint", "report", "object")
MIN_CHANGE = 1.5
"""A change of pace is reported if steps take this many times as long as before."""
MIN_STEPS = 4
"""On each side of a change of pace."""
LASTING_S = 1.0
LASTING_STEPS = 2.0
"""An open span is reported once it has lasted for this many of the longest steps."""


def summarize(timeline: Timeline) -> Summary:
    """Return the summary of a timeline."""
    by_process: dict[int, list[Span]] = {index: [] for index in range(len(timeline.processes))}

    for span in timeline.spans:
        by_process[span.process].append(span)

    late, waits = _lateness(timeline)
    # The driver and the controller have spans of the start only.
    workers = [
        index for index, process in enumerate(timeline.processes) if process.role == "worker"
    ]
    ranks = tuple(
        _rank_summary(
            timeline,
            index,
            by_process[index],
            late_ns=late.get(index, 0),
            waits_ns=waits.get(index, 0),
        )
        for index in workers
    )
    first = by_process[workers[0]] if workers else []
    return Summary(
        ranks=ranks,
        late_rank=_late_rank(ranks),
        collectives=tuple(_collective_summaries(first)),
        stuck=tuple(_stuck(timeline)),
        change=_change_of_pace(first),
        from_ns=timeline.from_ns or min((span.start_ns for span in timeline.spans), default=0),
        until_ns=_end_ns(timeline),
        inferred=any(names.INFERRED in span.attributes for span in first),
        spans=len(timeline.spans),
    )


def _complete_steps(spans: Iterable[Span]) -> list[Span]:
    return [span for span in spans if span.kind == "step" and span.end_ns is not None]


def _end_ns(timeline: Timeline) -> int:
    return timeline.until_ns or timeline.last_ns


def _open_since_ns(timeline: Timeline) -> int:
    """Return the latest start of an open span that has lasted long enough to report."""
    longest = max((_duration_ns(step) for step in _complete_steps(timeline.spans)), default=0)
    return _end_ns(timeline) - int(max(LASTING_S * 1e9, LASTING_STEPS * longest))


def _duration_ns(span: Span) -> int:
    return (span.end_ns or span.start_ns) - span.start_ns


def _rank_summary(
    timeline: Timeline, index: int, spans: Sequence[Span], *, late_ns: float, waits_ns: float
) -> RankSummary:
    process, steps = timeline.processes[index], _complete_steps(spans)
    durations_ms = [_duration_ns(step) / 1e6 for step in steps]
    longest = max(steps, key=_duration_ns, default=None)
    count = max(1, len(steps))
    open_since_ns = _open_since_ns(timeline)
    unfinished = [
        span
        for span in spans
        if span.end_ns is None and span.kind != "step" and span.start_ns < open_since_ns
    ]
    return RankSummary(
        rank=process.rank,
        hostname=process.hostname,
        pid=process.pid,
        steps=len(steps),
        first_step=steps[0].step if steps else None,
        last_step=steps[-1].step if steps else None,
        median_ms=statistics.median(durations_ms) if durations_ms else None,
        mean_ms=statistics.fmean(durations_ms) if durations_ms else None,
        longest_ms=max(durations_ms, default=None),
        longest_step=longest.step if longest else None,
        phases_ms={name: ns / 1e6 / count for name, ns in _own_times_ns(spans, steps).items()},
        late_ms=late_ns / 1e6,
        waits_ms=waits_ns / 1e6,
        in_now=unfinished[-1].name if unfinished else None,
    )


def _own_times_ns(spans: Sequence[Span], steps: Sequence[Span]) -> dict[str, int]:
    """Return the time of each phase within complete steps, excluding nested phases."""
    if not steps:
        return {}

    start_ns, end_ns = steps[0].start_ns, max(step.end_ns or 0 for step in steps)
    totals: dict[str, int] = {}
    enclosing: list[Span] = []

    for span in spans:
        if span.kind not in IN_STEP or span.end_ns is None:
            continue

        if span.start_ns < start_ns or span.end_ns > end_ns:
            continue

        while enclosing and (enclosing[-1].end_ns or 0) <= span.start_ns:
            enclosing.pop()

        totals[span.name] = totals.get(span.name, 0) + _duration_ns(span)

        if enclosing:
            overlap = min(span.end_ns, enclosing[-1].end_ns or 0) - span.start_ns
            totals[enclosing[-1].name] -= overlap

        enclosing.append(span)

    return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


def spans_by_collective(timeline: Timeline) -> dict[str | None, list[Span]]:
    """Group the collective spans of all ranks by collective; point-to-point ones are left out."""
    found: dict[str | None, list[Span]] = {}

    for span in timeline.spans:
        if span.kind == "collective" and names.COLLECTIVE_P2P not in span.attributes:
            found.setdefault(collective_id(span), []).append(span)

    return found


def _lateness(timeline: Timeline) -> tuple[dict[int, float], dict[int, float]]:
    """Return for each process how long others waited for it alone, and how long it waited.

    Nanoseconds of the median step: on a busy machine every rank is late occasionally.
    """
    late: dict[int, dict[int, int]] = {}
    waits: dict[int, dict[int, int]] = {}

    for spans in spans_by_collective(timeline).values():
        if len(spans) < 2 or len(spans) != spans[0].attributes.get(names.COLLECTIVE_GROUP_SIZE):
            continue

        met = meeting([span.start_ns for span in spans])

        for span in spans:
            if span.step is not None:
                alone_s = met.late_s if span is spans[met.last] else 0.0
                _add(late, span, round(alone_s * 1e9))
                _add(waits, span, met.last_ns - span.start_ns)

    return _medians(late), _medians(waits)


def _add(totals: dict[int, dict[int, int]], span: Span, more_ns: int) -> None:
    by_step = totals.setdefault(span.process, {})
    by_step[span.step or 0] = by_step.get(span.step or 0, 0) + more_ns


def _medians(totals: dict[int, dict[int, int]]) -> dict[int, float]:
    return {process: statistics.median(by_step.values()) for process, by_step in totals.items()}


def _late_rank(ranks: Sequence[RankSummary]) -> int | None:
    """Return the rank that the others wait for, None if there is no single one."""
    ordered = sorted(ranks, key=lambda summary: -summary.late_ms)

    if len(ordered) < 2 or ordered[0].mean_ms is None:
        return None

    most, next_most = ordered[0], ordered[1]
    found = is_late(most.late_ms, next_most.late_ms, ordered[0].mean_ms, share=WORTH_TELLING_SHARE)
    return most.rank if found else None


def _collective_summaries(spans: Iterable[Span]) -> list[CollectiveSummary]:
    """Return a rank's collectives by kind, those with the most time first."""
    found: dict[tuple[object, ...], list[Span]] = {}
    keys = (
        names.COLLECTIVE_GROUP,
        names.COLLECTIVE_GROUP_SIZE,
        names.COLLECTIVE_SIZE,
        names.COLLECTIVE_DTYPE,
    )

    for span in spans:
        if span.kind == "collective":
            key = (span.name, *(span.attributes.get(name) for name in keys))
            found.setdefault(key, []).append(span)

    summaries = []

    for (name, group, group_size, size, dtype), many in found.items():
        ended = [_duration_ns(span) / 1e6 for span in many if span.end_ns is not None]
        summaries.append(
            CollectiveSummary(
                operation=str(name),
                group=str(group),
                group_size=group_size if isinstance(group_size, int) else None,
                size_bytes=size if isinstance(size, int) else None,
                dtype=str(dtype),
                count=len(many),
                mean_ms=statistics.fmean(ended) if ended else None,
            )
        )

    return sorted(summaries, key=lambda summary: -(summary.mean_ms or 0) * summary.count)


def _stuck(timeline: Timeline) -> list[Stuck]:
    """Return the collectives that no rank has left, the oldest first."""
    everyone = {process.rank for process in timeline.processes if process.rank is not None}
    before_ns = _open_since_ns(timeline)
    found = []

    for spans in spans_by_collective(timeline).values():
        if any(span.end_ns is not None or span.start_ns > before_ns for span in spans):
            continue

        inside = {timeline.processes[span.process].rank for span in spans}
        size = spans[0].attributes.get(names.COLLECTIVE_GROUP_SIZE)
        missing: set[int] = everyone - inside if size == len(everyone) else set()
        found.append(
            Stuck(
                operation=spans[0].name,
                group=str(spans[0].attributes.get(names.COLLECTIVE_GROUP)),
                sequence=int(spans[0].attributes.get(names.COLLECTIVE_SEQUENCE, 0)),
                ranks=tuple(sorted(rank for rank in inside if rank is not None)),
                missing=tuple(sorted(missing)),
                since_ns=min(span.start_ns for span in spans),
                step=spans[0].step,
            )
        )

    return sorted(found, key=lambda stuck: stuck.since_ns)


def _change_of_pace(spans: Iterable[Span]) -> Change | None:
    """Return the step from which on steps take much longer, if there is one.

    The candidate is the split that explains most of the variance of the logarithms; quartiles decide.
    """
    steps = [step for step in _complete_steps(spans) if _duration_ns(step) > 0]
    logs = [math.log(_duration_ns(step)) for step in steps]
    count, total = len(logs), sum(logs)
    best, at, left = 0.0, 0, 0.0

    for split in range(1, count):
        left += logs[split - 1]
        gap = left / split - (total - left) / (count - split)
        explained = gap * gap * split * (count - split)

        if explained > best and MIN_STEPS <= split <= count - MIN_STEPS:
            best, at = explained, split

    if not at:
        return None

    _, before, most_before = statistics.quantiles(
        (_duration_ns(step) / 1e6 for step in steps[:at]), n=4
    )
    least_after, after, _ = statistics.quantiles(
        (_duration_ns(step) / 1e6 for step in steps[at:]), n=4
    )

    if after < MIN_CHANGE * before or least_after < most_before:
        return None

    first = steps[at]
    return Change(step=first.step or 0, at_ns=first.start_ns, before_ms=before, after_ms=after)
