"""Spans as OpenTelemetry has them: their ids, their parents, and when they are due."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec

from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.exporters import semconv, span_ids
from dsray_inspect.exporters.otel_spans import OtelSpan, otel_spans
from tests.unit import timelines

WHOLE = timelines.two_ranks()


def by_id(spans: list[OtelSpan]) -> dict[int, OtelSpan]:
    return {span.span_id: span for span in spans}


def chain(span: OtelSpan, spans: dict[int, OtelSpan]) -> list[str]:
    """Return the names from a span up to its root."""
    names = [span.name]
    while span.parent_id is not None:
        span = spans[span.parent_id]
        names.append(span.name)
    return names


def test_spans_hang_under_what_holds_them() -> None:
    spans = by_id(list(otel_spans(WHOLE, whole=True)))
    chains = {
        tuple(chain(span, spans))
        for span in spans.values()
        if span.attributes.get(semconv.STEP_GLOBAL) == 0
    }
    assert ("data", "train.step", "train.step") in chains
    assert ("grad_reduce", "backward", "train.step", "train.step") in chains
    assert ("all_reduce", "grad_reduce", "backward", "train.step", "train.step") in chains
    assert not any(names[:2] == ("all_reduce", "all_reduce") for names in chains)


def test_a_span_lies_within_its_parent_and_knows_its_rank() -> None:
    spans = by_id(list(otel_spans(WHOLE, whole=True)))
    for span in spans.values():
        if span.parent_id is not None:
            parent = spans[span.parent_id]
            assert parent.trace_id == span.trace_id
            assert parent.start_ns <= span.start_ns
            assert span.end_ns <= parent.end_ns
            assert semconv.HOST_NAME in span.attributes
    ranks = {span.attributes.get(semconv.RANK_WORLD) for span in spans.values()}
    assert ranks == {None, 0, 1}


def test_ids_are_computed_alike_everywhere() -> None:
    code = (
        "from dsray_inspect.exporters import span_ids\n"
        "trace = span_ids.trace_id('run', 'attempt', 7)\n"
        "print(trace, span_ids.span_id(trace, '3', 'forward', 0))"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    trace = span_ids.trace_id("run", "attempt", 7)
    assert done == [f"{trace} {span_ids.span_id(trace, '3', 'forward', 0)}\n"] * 2
    others = {
        trace,
        span_ids.trace_id("run", "attempt", 8),
        span_ids.trace_id("run", "other", 7),
        span_ids.trace_id("runa", "ttempt", 7),
    }
    assert len(others) == 4


def test_parts_of_a_step_from_two_nodes_meet_in_one_trace() -> None:
    def only(process: int) -> Timeline:
        spans = tuple(span for span in WHOLE.spans if span.process == process)
        return msgspec.structs.replace(WHOLE, spans=spans)

    together = {span.span_id: span.parent_id for span in otel_spans(WHOLE, whole=True)}
    apart = {
        span.span_id: span.parent_id
        for process in range(len(WHOLE.processes))
        for span in otel_spans(only(process), whole=True)
    }
    assert apart == together


def test_steps_that_a_rank_is_still_behind_wait() -> None:
    behind = tuple(
        span
        for span in WHOLE.spans
        if not (span.process == timelines.RANK_1 and (span.step or 0) > 0)
    )
    steps = {
        span.attributes[semconv.STEP_GLOBAL]
        for span in otel_spans(msgspec.structs.replace(WHOLE, spans=behind))
        if span.name == "train.step"
    }
    assert steps == set()


def test_what_is_open_lasts_until_the_recording_ended() -> None:
    until_ns = timelines.BEGIN_NS + 9_000 * timelines.MS
    found = otel_spans(msgspec.structs.replace(WHOLE, until_ns=until_ns), whole=True)
    assert {span.end_ns for span in found if span.is_open} == {until_ns}


def test_a_collective_of_no_known_step_is_a_trace_over_its_ranks() -> None:
    spans = tuple(
        msgspec.structs.replace(timelines.collective(process, 9, (1 + process, 5), 0), step=None)
        for process in (timelines.RANK_0, timelines.RANK_1)
    )
    found = list(otel_spans(msgspec.structs.replace(WHOLE, spans=spans)))
    assert len({span.trace_id for span in found}) == 1
    assert [span.name for span in found] == ["all_reduce"] * 3
    assert (found[0].parent_id, found[1].parent_id) == (None, found[0].span_id)
