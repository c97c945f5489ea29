"""From what real engines wrote into their rings to steps that add up, and from recorders to blame."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.model import Evidence, Job, Worker
from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.ring import records
from dsray_inspect.agent.remote.flight_recorder import spanned
from dsray_inspect.agent.text.trace import trace_text
from dsray_inspect.agent.timeline import Process, Span, Timeline
from dsray_inspect.agent.tracing import names, period
from dsray_inspect.agent.tracing.capture import Rank
from dsray_inspect.agent.tracing.collectives import Entry, collectives, entries, entry_times
from dsray_inspect.agent.tracing.raw_spans import Clock, RawSpan, raw_spans, training_thread
from dsray_inspect.agent.tracing.steps import StepIndex, find_steps, gap_spans, outermost
from dsray_inspect.agent.tracing.summarize import summarize
from dsray_inspect.agent.tracing.tracer import read_recorders
from dsray_inspect.exporters import semconv
from tests.unit.timelines import two_ranks

GOLDEN = Path(__file__).parents[1] / "golden" / "engines.jsonl"
Rows = Mapping[str, dict[str, Any]]
RECORDED: Rows = {row["name"]: row for row in map(json.loads, GOLDEN.read_text().splitlines())}
MS = 1_000_000


def recorded(name: str, rows: Rows = RECORDED) -> tuple[list[RawSpan], int]:
    """Return the pieces of an engine with its gaps, and its training thread."""
    row = rows[name]
    words = records(base64.b64decode(row["records"]))
    found = raw_spans(words, [], Clock(*row["clock"]))
    thread = training_thread(words)
    found += gap_spans(found, thread)
    found.sort(key=lambda one: (one.start_ns, -(one.end_ns or 1 << 62)))
    return found, thread


@pytest.mark.parametrize("name", RECORDED)
def test_every_engine_has_whole_steps_that_add_up(name: str) -> None:
    found, thread = recorded(name)
    known = find_steps(found)
    assert [one.number for one in known] == [3, 4, 5]
    assert [one.end_ns is None for one in known] == [False, False, True]
    by_time = StepIndex(known)
    top = outermost(found, thread)

    for step in known[:2]:
        inside = [one for one in top if by_time.at(one.start_ns) == step]
        total = sum((one.end_ns or 0) - one.start_ns for one in inside)
        assert step.end_ns is not None
        assert total == pytest.approx(step.end_ns - step.start_ns, rel=0.05)


@pytest.mark.parametrize("name", RECORDED)
def test_the_job_was_left_as_it_was(name: str) -> None:
    row = RECORDED[name]
    assert row["restored"]
    assert row["gone"] == {"gone": True, "covered": []}
    assert row["new_graphs"] == 0
    reference = "pipeline" if name == "pipeline" else "engine"
    assert row["losses"] == pytest.approx(RECORDED[reference]["losses"])


@pytest.mark.parametrize("name", ["engine", "direct", "subclass", "compiled"])
def test_a_step_is_forward_backward_and_step(name: str) -> None:
    found, thread = recorded(name)
    calls = [one.name for one in outermost(found, thread) if one.name not in ("data", "user")]
    assert calls == [names.FORWARD, names.BACKWARD, names.OPTIMIZER_STEP] * 3
    assert sum(one.name == names.GRAD_REDUCE for one in found) == 3
    backward = next(one for one in found if one.name == names.BACKWARD)
    reduction = next(one for one in found if one.name == names.GRAD_REDUCE)
    assert backward.contains(reduction)


def test_accumulation_has_micro_steps() -> None:
    found, _ = recorded("accumulate")
    forwards = [one for one in found if one.name == names.FORWARD]
    assert [one.global_step for one in forwards] == [2, 2, 3, 3, 4, 4]
    assert [one.micro_step for one in forwards] == [4, 5, 6, 7, 8, 9]


def test_a_failed_forward_is_marked() -> None:
    found, _ = recorded("failing")
    assert [one.failed for one in found if one.name == names.FORWARD] == [True, False] * 3


def test_zero_3_gathers_and_partitions() -> None:
    found, _ = recorded("zero3")
    assert {names.ZERO_GATHER, names.ZERO_PARTITION, names.GRAD_REDUCE} <= {
        one.name for one in found
    }


def test_a_pipeline_engine_has_its_steps_in_train_batch() -> None:
    found, thread = recorded("pipeline")
    calls = [one.name for one in outermost(found, thread) if one.name not in ("data", "user")]
    assert calls == [names.TRAIN_BATCH] * 3
    assert {one.micro_step for one in found if one.name == names.FORWARD} == {-1}


def test_what_was_not_finished_is_open() -> None:
    row = RECORDED["direct"]
    rows = records(base64.b64decode(row["records"]))
    clock = Clock(*row["clock"])
    last = max(i for i, one in enumerate(rows) if one[3] == wire.BACKWARD_PROLOGUE)
    found = raw_spans(rows[: last + 1], [], clock)
    assert found[-1].name == names.BACKWARD
    assert found[-1].end_ns is None
    in_forward = raw_spans(rows[:-1], [(rows[-1][2] + 5, wire.FORWARD)], clock)
    assert (in_forward[-1].name, in_forward[-1].end_ns) == (names.FORWARD, None)


def test_bytes_come_from_what_was_serialized_inside() -> None:
    def row(n: int, start: int, end: int, code: int, size: int = 0) -> tuple[int, ...]:
        return n, start, end, code, 0, size, 77

    rows = [
        row(1, 10, 20, wire.SERIALIZE, 800),
        row(2, 5, 30, wire.OBJECT_PUT),
        row(3, 45, 50, wire.DESERIALIZE, 900),
        row(4, 40, 60, wire.OBJECT_GET),
        row(5, 70, 90, wire.REPORT),
    ]
    found = raw_spans(rows, [], Clock(1000, 0), main_thread=1)
    assert [(one.name, one.size_bytes, one.start_ns) for one in found] == [
        (names.RAY_PUT, 800, 1005),
        (names.RAY_GET, 900, 1040),
        (names.REPORT, None, 1070),
    ]
    on_main = raw_spans(rows, [], Clock(1000, 0), main_thread=77)
    assert len(on_main) == 3
    assert training_thread(rows) == 77


def test_device_times_come_to_their_pieces() -> None:
    rows = [
        (1, 10, 20, wire.FORWARD, 3, 3, 7),
        (2, 10, 20, wire.DEVICE, wire.FORWARD, 555, 7),
    ]
    (forward,) = raw_spans(rows, [], Clock(0, 0))
    assert forward.device_ns == 555


# Collectives


def raw(
    number: int, start_ns: int, *, rank_op: str = "gloo:all_reduce", over: bool = True, **more: Any
) -> dict[str, Any]:
    return {
        "record_id": number,
        "process_group": ("1", "undefined"),
        "collective_seq_id": number,
        "p2p_seq_id": 0,
        "profiling_name": rank_op,
        "time_created_ns": start_ns,
        "input_sizes": [[10, 4]],
        "input_dtypes": ["Float"],
        "state": "scheduled",
        "time_discovered_completed_ns": None,
        "retired": over,
        "is_p2p": False,
        **more,
    }


def dump(*rows: dict[str, Any]) -> bytes:
    return pickle.dumps({"version": "2.10", "entries": list(rows)})


def test_dumps_that_overlap_are_one() -> None:
    found = entries([dump(raw(1, 10), raw(2, 20, over=False)), dump(raw(2, 20), raw(3, 30))])
    assert [(one.id, one.is_over, one.size_bytes) for one in found] == [
        (1, True, 160),
        (2, True, 160),
        (3, True, 160),
    ]


def test_the_end_is_estimated_as_it_says() -> None:
    mine = entries([dump(raw(1, 10), raw(2, 50), raw(3, 90, over=False))])
    theirs = entries([dump(raw(1, 30), raw(2, 40))])
    all_in = entry_times({0: mine, 1: theirs}, {"1": [0, 1]})
    past = collectives(mine, all_in)
    assert [(one.end_ns, one.end_source) for one in past] == [
        (30, "last_entry"),
        (50, "last_entry"),
        (None, "open"),
    ]
    assert [(one.wait_ns, one.late_ns) for one in past[:2]] == [(20, 0), (0, 10)]
    assert past[2].wait_ns is None
    live = collectives(mine, all_in, [(5, 60)])
    assert [(one.end_ns, one.end_source) for one in live[:2]] == [(50, "next"), (60, "next")]


def test_what_nccl_records_of_the_end_is_taken() -> None:
    rows = entries(
        [
            dump(
                raw(1, 10, rank_op="nccl:all_reduce", duration_ms=0.5, state="completed"),
                raw(2, 20, rank_op="nccl:_allgather_base", time_discovered_completed_ns=99),
            )
        ]
    )
    found = collectives(rows, entry_times({0: rows}, {"1": [0]}))
    assert [(one.end_ns, one.end_source) for one in found] == [
        (10 + 500_000, "duration"),
        (99, "watchdog"),
    ]
    assert rows[1].operation == "all_gather_into_tensor"
    assert rows[1].system == "nccl"


def row_of(ops: str, *, step: int = 100, pause: int = 50) -> list[Entry]:
    """Return entries of one-letter operations; a blank is a pause."""
    found: list[dict[str, Any]] = []
    at = 0

    for letter in ops:
        at += pause if letter == " " else 1

        if letter != " ":
            found.append(raw(len(found) + 1, at, rank_op=f"gloo:{letter}"))

    return entries([dump(*found)])


@pytest.mark.parametrize(
    ("ops", "step", "count"),
    [
        ("xyz" + " abc" * 40, "abc", 40),
        (" aaab" * 40, "aaab", 40),  # equal operations in a row are no step
        (" abab ccab" * 30, None, 30),  # micro steps are no steps
        (" abc" * 30 + " s" + " abc" * 20, "abc", 50),  # a checkpoint in between
        (" abc" * 30 + " ab", "abc", 30),  # a hang in the middle of a step
    ],
)
def test_the_step_is_what_repeats_itself(ops: str, step: str | None, count: int) -> None:
    rows = row_of(ops)
    found = period.find_period(rows)
    assert found is not None
    told = "".join(operation for _, operation, _ in found.tokens)
    assert step is None or told == step
    assert len(period.occurrences(rows, found)) >= count - 1


@pytest.mark.parametrize("ops", ["", "abc", "abcdefghijklmnop"])
def test_what_does_not_repeat_itself_has_no_step(ops: str) -> None:
    assert period.find_period(row_of(ops)) is None


# Summary


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
        spans=tuple(sorted(spans, key=lambda one: (one.start_ns, -(one.end_ns or 1 << 62)))),
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
    assert [one.late_ms for one in told.ranks] == [0, 20]
    assert [one.waits_ms for one in told.ranks] == [20, 0]
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


def test_the_names_are_those_of_the_exporters() -> None:
    theirs = {
        value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)
    }
    ours = {value for name, value in vars(names).items() if "." in str(value) and name.isupper()}
    own = {
        names.COLLECTIVE_END,
        names.COLLECTIVE_WAIT,
        names.DEVICE_NS,
        names.INFERRED,
        names.RAY_GET,
        names.RAY_PUT,
    }
    assert ours - own <= theirs


class OneAnswer:
    """Answers one call as a rank does; what it is asked is not looked at."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    def send(self, *_: Any) -> str:
        return "reference"

    def answers(self, references: Mapping[str, Any], _timeout_s: float) -> dict[str, Any]:
        return dict.fromkeys(references, self._answer)


@pytest.mark.parametrize("ranks", [[0, 1], [0, 2, 4, 6], [3], [0, 1, 5], []])
def test_the_members_of_a_group_are_what_the_recorder_says(ranks: list[int]) -> None:
    answer = {
        "recording": dump(raw(1, 10), raw(2, 20)),
        "no_recording": None,
        "group_ranks": {"1": spanned(ranks)},
        "pause_ms": 1.0,
    }
    rank = Rank(worker=worker())
    calls: Any = OneAnswer(answer)
    read_recorders(calls, {"a": None}, [rank], max_pause_ms=100)  # type: ignore[dict-item]
    assert rank.group_ranks == {"1": tuple(ranks)}


def worker() -> Worker:
    evidence = Evidence(gcs="ok", controller="ok", worker="ok", stack="ok", gpu="ok")
    return Worker(
        rank=0,
        local_rank=0,
        node_rank=0,
        world_size=2,
        actor_id="a",
        worker_id="w",
        pid=1,
        node_id="n",
        node_ip="10.0.0.1",
        hostname="h",
        state="alive",
        gpus=(),
        function=None,
        phase="unknown",
        step=None,
        env={},
        deepspeed=None,
        evidence=evidence,
        pause_ms=0.0,
    )


def test_the_driver_and_the_controller_are_no_ranks() -> None:
    summary = summarize(two_ranks())
    assert [rank.rank for rank in summary.ranks] == [0, 1]
    assert trace_text(summary, now_ns=0).startswith("Ranks 0-1, ")
