"""The past in letters: what took most of each moment, and who kept others waiting."""

from __future__ import annotations

import msgspec
import pytest

from dsray_inspect.agent.history import CELLS, History, RankHistory, history_of
from dsray_inspect.agent.text.history_lines import past_lines
from dsray_inspect.agent.timeline import Span, Timeline
from dsray_inspect.exporters import semconv
from tests.unit.timelines import JOB, PROCESSES, RUN, span

RANK_0, RANK_1 = 1, 2
STEP_MS = 100.0


def met(process: int, sequence: int, begin_ms: float, end_ms: float | None, name: str) -> Span:
    made = span(name, "collective", process, (begin_ms, end_ms))
    group = {semconv.COLLECTIVE_GROUP: "1", semconv.COLLECTIVE_SEQUENCE: sequence}
    return msgspec.structs.replace(made, attributes=group)


def timeline(*spans: Span, notes: tuple[str, ...] = ()) -> Timeline:
    return Timeline(job=JOB, run=RUN, processes=PROCESSES, spans=spans, notes=notes)


def of_steps(count: int) -> list[Span]:
    """Rank 0 waits 60 of each 100 ms in a reduction to which rank 1 comes 60 ms later."""
    spans = []

    for step in range(count):
        begin = step * STEP_MS
        spans += [
            met(RANK_0, step, begin + 20, begin + 90, "all_reduce"),
            met(RANK_1, step, begin + 80, begin + 90, "all_reduce"),
            span("step", "step", RANK_0, (begin, begin + STEP_MS), step=step),
        ]

    return spans


def test_who_is_late_is_seen_and_counted() -> None:
    history = history_of(timeline(*of_steps(10)))
    first, second = history.ranks
    assert history.steps == 10
    assert history.step_s == pytest.approx(0.1)
    assert len(first.cells) == len(second.cells) == CELLS
    assert first.cells.count("r") == pytest.approx(0.7 * CELLS, abs=12)
    assert second.cells.count("r") == pytest.approx(0.1 * CELLS, abs=12)
    assert first.late_s == 0.0
    assert second.late_s == pytest.approx(0.6)
    assert [history.is_late(rank) for rank in history.ranks] == [False, True]
    assert history.step_ended_ns == of_steps(10)[-1].end_ns


def test_what_is_open_lasts_until_the_end() -> None:
    spans = [*of_steps(2), met(RANK_0, 2, 200, None, "all_gather")]
    told = timeline(*spans)
    until_ns = spans[-1].start_ns + 800_000_000
    history = history_of(msgspec.structs.replace(told, until_ns=until_ns))
    first, second = history.ranks
    assert first.cells.endswith("g" * 190)
    assert second.cells.endswith("." * 190)


def test_what_a_recorder_no_longer_holds_is_blank() -> None:
    late = met(RANK_1, 9, 910, 990, "broadcast")
    history = history_of(timeline(met(RANK_0, 0, 0, 1000, "all_reduce"), late))
    assert history.ranks[0].cells == "r" * CELLS
    assert history.ranks[1].cells.startswith(" " * 200)
    assert "c" in history.ranks[1].cells


def test_no_collectives_give_a_reason() -> None:
    assert history_of(
        timeline(notes=("rank 0: no collectives: torch is not imported",))
    ) == History(note="rank 0: no collectives: torch is not imported")


def past(*, ago_s: float, late_s: float = 0.0) -> History:
    until_ns = 100_000_000_000
    return History(
        from_ns=until_ns - 12_000_000_000,
        until_ns=until_ns,
        steps=30,
        step_s=0.4,
        step_ended_ns=until_ns - round(ago_s * 1e9),
        ranks=(
            RankHistory(rank=0, cells="r", late_s=0.0),
            RankHistory(rank=1, cells="r", late_s=late_s),
        ),
    )


def test_the_past_in_words() -> None:
    head = "before      12.0 s in the flight recorders: 30 steps of 400 ms"
    assert past_lines(past(ago_s=0.2)) == [head]
    assert past_lines(past(ago_s=9.0, late_s=7.9)) == [
        f"{head}, the last one 9.0 s ago",
        "            the others waited 7.9 s of it for rank 1",
    ]


def test_no_past_is_no_line() -> None:
    assert past_lines(None) == past_lines(History(note="no recorder")) == []
