"""Whatever a timeline holds, its trace file is sound, and so are its traces."""

from __future__ import annotations

from typing import get_args

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsray_inspect.agent.timeline import Span, SpanKind, Timeline
from dsray_inspect.exporters.otel_spans import otel_spans
from tests.unit import timelines
from tests.unit.test_trace_json import read

KINDS: tuple[SpanKind, ...] = get_args(SpanKind)
TIMES = st.integers(0, 40)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    kind = draw(st.sampled_from(KINDS))
    process = draw(st.integers(0, len(timelines.PROCESSES) - 1))
    start = draw(TIMES)
    end = draw(st.none() | TIMES.map(lambda length: start + length))
    step = draw(st.none() | st.integers(0, 3))
    if kind == "collective":
        collective = timelines.collective(process, draw(st.integers(0, 3)), (start, end), 0)
        return msgspec.structs.replace(collective, step=step)
    return timelines.span(draw(st.sampled_from("ab")), kind, process, (start, end), step=step)


@st.composite
def any_timeline(draw: st.DrawFn) -> Timeline:
    drawn = draw(st.lists(spans(), max_size=25))
    return msgspec.structs.replace(timelines.two_ranks(), spans=tuple(drawn))


CROSSING = msgspec.structs.replace(
    timelines.two_ranks(),
    spans=(
        timelines.span("a", "step", timelines.RANK_0, (0, 2)),
        timelines.span("a", "step", timelines.RANK_0, (1, None)),
    ),
)


@settings(max_examples=50)
@example(CROSSING)
@given(any_timeline())
def test_a_trace_file_is_well_formed_and_holds_every_span(timeline: Timeline) -> None:
    events = read(timeline)
    assert sum(event["ph"] in "XB" for event in events) == len(timeline.spans)


@settings(max_examples=50)
@given(any_timeline())
def test_traces_are_trees_whose_parents_hold_their_children(timeline: Timeline) -> None:
    found = list(otel_spans(timeline, whole=True))
    by_id = {(span.trace_id, span.span_id): span for span in found}
    assert len(by_id) == len(found), "ids are there once"
    roots = {span.trace_id for span in found if span.parent_id is None}
    assert roots == {span.trace_id for span in found}
    assert len(found) == len(timeline.spans) + len(roots)
    for span in found:
        if span.parent_id is not None:
            parent = by_id[span.trace_id, span.parent_id]
            assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns


@settings(max_examples=50)
@given(any_timeline())
def test_what_is_over_is_a_part_of_the_whole(timeline: Timeline) -> None:
    whole = {span.span_id for span in otel_spans(timeline, whole=True)}
    over = list(otel_spans(timeline))
    assert {span.span_id for span in over} <= whole
    assert not any(span.is_open for span in over)
