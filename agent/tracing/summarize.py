"""Makes a summary of a timeline: where each rank's steps went, who is late, what never ended.

Pure, and made from the timeline alone, so that it says the same of a recorded one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from dsray_inspect.agent.timeline import Span, Timeline
from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.summary import (
    Change,
    CollectiveSummary,
    RankSummary,
    Stuck,
    Summary,
)

IN_STEP = ("phase", "checkpoint", "report", "object")
LATE = 0.05
"""A rank is late when it costs the others this part of a step, and twice as much as any other."""
LEAST_CHANGE = 1.5
"""A change of pace is told when steps take so many times as long as before."""
LEAST_STEPS = 4
LASTING_S = 1.0
LASTING_STEPS = 2.0
"""What is open at the end is worth a word when it has lasted so many of the longest steps."""


def summarize(timeline: Timeline) -> Summary:
    """Return the summary of a timeline."""
    by_process: dict[int, list[Span]] = {n: [] for n in range(len(timeline.processes))}

    for span in timeline.spans:
        by_process[span.process].append(span)

    late, waits = lateness(timeline)
    ranks = tuple(
        rank_summary(timeline, n, by_process[n], late_ns=late.get(n, 0), waits_ns=waits.get(n, 0))
        for n in by_process
    )
    first = by_process.get(0, [])
    return Summary(
        ranks=ranks,
        late_rank=late_rank(ranks),
        collectives=tuple(operations(first)),
        stuck=tuple(stuck(timeline)),
        change=change_of_pace(first),
        from_ns=timeline.from_ns or min((one.start_ns for one in timeline.spans), default=0),
        until_ns=end_of(timeline),
        inferred=any(names.INFERRED in one.attributes for one in first),
        spans=len(timeline.spans),
    )


def whole_steps(spans: Iterable[Span]) -> list[Span]:
    return [one for one in spans if one.kind == "step" and one.end_ns is not None]


def end_of(timeline: Timeline) -> int:
    ends = (one.end_ns or one.start_ns for one in timeline.spans)
    return timeline.until_ns or max(ends, default=0)


def lasting(timeline: Timeline) -> int:
    """Return before when a span must have begun to have lasted, if it is open at the end."""
    longest = max((length_ns(one) for one in whole_steps(timeline.spans)), default=0)
    return end_of(timeline) - int(max(LASTING_S * 1e9, LASTING_STEPS * longest))


def length_ns(span: Span) -> int:
    return (span.end_ns or span.start_ns) - span.start_ns


def rank_summary(
    timeline: Timeline, n: int, spans: Sequence[Span], *, late_ns: float, waits_ns: float
) -> RankSummary:
    process, steps = timeline.processes[n], whole_steps(spans)
    lengths = [length_ns(one) / 1e6 for one in steps]
    longest = max(steps, key=length_ns, default=None)
    count = max(1, len(steps))
    lasting_ns = lasting(timeline)
    unfinished = [
        one
        for one in spans
        if one.end_ns is None and one.kind != "step" and one.start_ns < lasting_ns
    ]
    return RankSummary(
        rank=process.rank,
        hostname=process.hostname,
        pid=process.pid,
        steps=len(steps),
        first_step=steps[0].step if steps else None,
        last_step=steps[-1].step if steps else None,
        median_ms=statistics.median(lengths) if lengths else None,
        mean_ms=statistics.fmean(lengths) if lengths else None,
        longest_ms=max(lengths, default=None),
        longest_step=longest.step if longest else None,
        phases_ms={name: ns / 1e6 / count for name, ns in own_times(spans, steps).items()},
        late_ms=late_ns / 1e6,
        waits_ms=waits_ns / 1e6,
        in_now=unfinished[-1].name if unfinished else None,
    )


def own_times(spans: Sequence[Span], steps: Sequence[Span]) -> dict[str, int]:
    """Return the time of each phase in whole steps, without that of phases inside of it."""
    if not steps:
        return {}

    begin, end = steps[0].start_ns, max(one.end_ns or 0 for one in steps)
    totals: dict[str, int] = {}
    around: list[Span] = []

    for one in spans:
        if one.kind not in IN_STEP or one.end_ns is None:
            continue

        if one.start_ns < begin or one.end_ns > end:
            continue

        while around and (around[-1].end_ns or 0) <= one.start_ns:
            around.pop()

        totals[one.name] = totals.get(one.name, 0) + length_ns(one)

        if around:
            overlap = min(one.end_ns, around[-1].end_ns or 0) - one.start_ns
            totals[around[-1].name] -= overlap

        around.append(one)

    return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


def together(timeline: Timeline) -> dict[tuple[object, object], list[Span]]:
    """Return the spans of each collective, of all ranks, by its group and number."""
    found: dict[tuple[object, object], list[Span]] = {}

    for one in timeline.spans:
        if one.kind == "collective" and names.COLLECTIVE_P2P not in one.attributes:
            key = (
                one.attributes.get(names.COLLECTIVE_GROUP),
                one.attributes.get(names.COLLECTIVE_SEQUENCE),
            )
            found.setdefault(key, []).append(one)

    return found


def lateness(timeline: Timeline) -> tuple[dict[int, float], dict[int, float]]:
    """Return by process for how long a step others waited for it alone, and how long it waited.

    Nanoseconds of the median step: on a busy machine each rank is late now and then.
    """
    late: dict[int, dict[int, int]] = {}
    waits: dict[int, dict[int, int]] = {}

    for spans in together(timeline).values():
        if len(spans) < 2 or len(spans) != spans[0].attributes.get(names.COLLECTIVE_GROUP_SIZE):
            continue

        starts = sorted((one.start_ns, one.process) for one in spans)
        last_ns, last = starts[-1]

        for one in spans:
            if one.step is not None:
                alone_ns = last_ns - starts[-2][0] if one.process == last else 0
                add(late, one, alone_ns)
                add(waits, one, last_ns - one.start_ns)

    return medians(late), medians(waits)


def add(totals: dict[int, dict[int, int]], span: Span, more_ns: int) -> None:
    by_step = totals.setdefault(span.process, {})
    by_step[span.step or 0] = by_step.get(span.step or 0, 0) + more_ns


def medians(totals: dict[int, dict[int, int]]) -> dict[int, float]:
    return {process: statistics.median(by_step.values()) for process, by_step in totals.items()}


def late_rank(ranks: Sequence[RankSummary]) -> int | None:
    """Return the one rank that the others wait for, None where that is no one in particular."""
    ordered = sorted(ranks, key=lambda one: -one.late_ms)

    if len(ordered) < 2 or ordered[0].mean_ms is None:
        return None

    most, next_most = ordered[0], ordered[1]
    is_late = most.late_ms >= LATE * ordered[0].mean_ms and most.late_ms >= 2 * next_most.late_ms
    return most.rank if is_late else None


def operations(spans: Iterable[Span]) -> list[CollectiveSummary]:
    """Return what a rank's collectives are, those with most time first."""
    found: dict[tuple[object, ...], list[Span]] = {}
    keys = (
        names.COLLECTIVE_GROUP,
        names.COLLECTIVE_GROUP_SIZE,
        names.COLLECTIVE_SIZE,
        names.COLLECTIVE_DTYPE,
    )

    for one in spans:
        if one.kind == "collective":
            key = (one.name, *(one.attributes.get(name) for name in keys))
            found.setdefault(key, []).append(one)

    summaries = []

    for (name, group, group_size, size, dtype), many in found.items():
        ended = [length_ns(one) / 1e6 for one in many if one.end_ns is not None]
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

    return sorted(summaries, key=lambda one: -(one.mean_ms or 0) * one.count)


def stuck(timeline: Timeline) -> list[Stuck]:
    """Return the collectives that nobody has left, the oldest first."""
    there = {one.rank for one in timeline.processes if one.rank is not None}
    before_ns = lasting(timeline)
    found = []

    for spans in together(timeline).values():
        if any(one.end_ns is not None or one.start_ns > before_ns for one in spans):
            continue

        inside = {timeline.processes[one.process].rank for one in spans}
        size = spans[0].attributes.get(names.COLLECTIVE_GROUP_SIZE)
        missing: set[int] = there - inside if size == len(there) else set()
        found.append(
            Stuck(
                operation=spans[0].name,
                group=str(spans[0].attributes.get(names.COLLECTIVE_GROUP)),
                sequence=int(spans[0].attributes.get(names.COLLECTIVE_SEQUENCE, 0)),
                ranks=tuple(sorted(rank for rank in inside if rank is not None)),
                missing=tuple(sorted(missing)),
                since_ns=min(one.start_ns for one in spans),
                step=spans[0].step,
            )
        )

    return sorted(found, key=lambda one: one.since_ns)


def change_of_pace(spans: Iterable[Span]) -> Change | None:
    """Return where steps became much longer and stayed so, if anywhere.

    The split that explains most of the spread of the logarithms is looked at; quartiles decide.
    """
    steps = [one for one in whole_steps(spans) if length_ns(one) > 0]
    logs = [math.log(length_ns(one)) for one in steps]
    count, total = len(logs), sum(logs)
    best, at, left = 0.0, 0, 0.0

    for split in range(1, count):
        left += logs[split - 1]
        gap = left / split - (total - left) / (count - split)
        explained = gap * gap * split * (count - split)

        if explained > best and LEAST_STEPS <= split <= count - LEAST_STEPS:
            best, at = explained, split

    if not at:
        return None

    _, before, most_before = statistics.quantiles((length_ns(one) / 1e6 for one in steps[:at]), n=4)
    least_after, after, _ = statistics.quantiles((length_ns(one) / 1e6 for one in steps[at:]), n=4)

    if after < LEAST_CHANGE * before or least_after < most_before:
        return None

    first = steps[at]
    return Change(step=first.step or 0, at_ns=first.start_ns, before_ms=before, after_ms=after)
