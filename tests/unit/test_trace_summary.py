"""Where a step goes, which rank is late, and what never ended."""

from __future__ import annotations

from typing import Any

import pytest

from dsray_inspect.agent.model import Job
from dsray_inspect.agent.text.trace import trace_text
from dsray_inspect.agent.timeline import Process, Span, Timeline
from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.summarize import summarize
from tests.unit.timelines import two_ranks

MS = 1_000_000


def process(rank: int) -> Process:
    return Process(
        role="worker", rank=rank, pid=100 + rank, hostname="h", node_id="n", node_ip="10.0.0.1"
    )


def timeline(lengths_ms: list[int], *, late_ms: int = 0, stuck: bool = False) -> Timeline:
    """Return steps of two ranks with one collective each, into which rank 1 comes late."""
    spans: list[Span] = []
    at = 0

    for step, length_ms in enumerate(lengths_ms):
        for rank in (0, 1):
            start = at + length_ms * MS // 2 + rank * late_ms * MS
            spans += [
                span("step", "step", rank, at, at + length_ms * MS, step),
                span("data", "phase", rank, at, start, step),
                span("backward", "phase", rank, start, at + length_ms * MS, step),
                span("grad_reduce", "phase", rank, start + MS, at + length_ms * MS, step),
                reduction(rank, start + MS, at + length_ms * MS, step),
            ]

        at += length_ms * MS

    if stuck:
        spans.append(reduction(0, at, None, len(lengths_ms)))

    return Timeline(
        job=Job(submission_id="j", job_id="01", entrypoint="python t.py", state="RUNNING"),
        run=None,
        processes=(process(0), process(1)),
        spans=tuple(sorted(spans, key=lambda span: (span.start_ns, -(span.end_ns or 1 << 62)))),
        until_ns=at + 60_000 * MS,
    )


def span(name: str, kind: Any, rank: int, start: int, end: int | None, step: int) -> Span:
    return Span(name=name, kind=kind, process=rank, start_ns=start, end_ns=end, step=step)


def reduction(rank: int, start: int, end: int | None, step: int) -> Span:
    return Span(
        name="all_reduce",
        kind="collective",
        process=rank,
        start_ns=start,
        end_ns=end,
        step=step,
        attributes={
            names.COLLECTIVE_GROUP: "1",
            names.COLLECTIVE_GROUP_SIZE: 2,
            names.COLLECTIVE_SEQUENCE: step + 1,
            names.COLLECTIVE_SIZE: 2048,
            names.COLLECTIVE_DTYPE: "float",
        },
    )


def test_a_summary_tells_where_a_step_goes() -> None:
    told = summarize(timeline([100] * 8))
    first = told.ranks[0]
    assert (first.steps, first.first_step, first.last_step) == (8, 0, 7)
    assert first.median_ms == first.mean_ms == 100
    assert first.phases_ms == {"data": 50, "grad_reduce": 49, "backward": 1}
    assert sum(first.phases_ms.values()) == first.mean_ms
    assert told.late_rank is None
    assert told.stuck == ()
    assert told.change is None
    (operation,) = told.collectives
    assert (operation.operation, operation.count, operation.size_bytes) == ("all_reduce", 8, 2048)


def test_a_summary_names_the_late_rank() -> None:
    told = summarize(timeline([100] * 8, late_ms=20))
    assert told.late_rank == 1
    assert [rank.late_ms for rank in told.ranks] == [0, 20]
    assert [rank.waits_ms for rank in told.ranks] == [20, 0]
    assert "rank 1: the other rank waits 20 ms per step for it (20% of it)" in trace_text(
        told, now_ns=0
    )


def test_a_summary_tells_when_the_pace_changed() -> None:
    told = summarize(timeline([100] * 10 + [300] * 6))
    assert told.change is not None
    assert (told.change.step, told.change.before_ms, told.change.after_ms) == (10, 100, 300)
    assert "from step #10 on" in trace_text(told, now_ns=0)


@pytest.mark.parametrize("lengths", [[100] * 3, [100, 900, 100, 900] * 4, [300] * 8 + [100] * 8])
def test_no_change_is_made_of_noise(lengths: list[int]) -> None:
    assert summarize(timeline(lengths)).change is None


def test_a_summary_tells_what_never_ended() -> None:
    told = summarize(timeline([100] * 8, stuck=True))
    (stuck,) = told.stuck
    assert (stuck.operation, stuck.sequence) == ("all_reduce", 9)
    assert (stuck.ranks, stuck.missing) == ((0,), (1,))
    assert told.ranks[0].in_now == "all_reduce"
    text = trace_text(told, now_ns=stuck.since_ns + 65_000 * MS)
    assert "of step #8: rank 0 entered it 1 min 5 s ago, rank 1 never did" in text


def test_an_empty_timeline_is_said_to_be() -> None:
    empty = timeline([])
    assert "nothing was recorded" in trace_text(summarize(empty), now_ns=0)


def test_the_driver_and_the_controller_are_no_ranks() -> None:
    summary = summarize(two_ranks())
    assert [rank.rank for rank in summary.ranks] == [0, 1]
    assert trace_text(summary, now_ns=0).startswith("Ranks 0-1, ")
