"""Collectives from flight recorders: when they ended, who was late, and what a step repeats."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from dsray_inspect.agent.model import Evidence, Worker
from dsray_inspect.agent.remote.flight_recorder import spanned
from dsray_inspect.agent.tracing import period
from dsray_inspect.agent.tracing.capture import Rank
from dsray_inspect.agent.tracing.collectives import Entry, collectives, entries, entry_times
from dsray_inspect.agent.tracing.tracer import read_recorders


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
    assert [(entry.id, entry.is_over, entry.size_bytes) for entry in found] == [
        (1, True, 160),
        (2, True, 160),
        (3, True, 160),
    ]


def test_the_end_is_estimated_as_it_says() -> None:
    mine = entries([dump(raw(1, 10), raw(2, 50), raw(3, 90, over=False))])
    theirs = entries([dump(raw(1, 30), raw(2, 40))])
    all_in = entry_times({0: mine, 1: theirs}, {"1": [0, 1]})
    past = collectives(mine, all_in)
    assert [(collective.end_ns, collective.end_source) for collective in past] == [
        (30, "last_entry"),
        (50, "last_entry"),
        (None, "open"),
    ]
    assert [(collective.wait_ns, collective.late_ns) for collective in past[:2]] == [
        (20, 0),
        (0, 10),
    ]
    assert past[2].wait_ns is None
    live = collectives(mine, all_in, [(5, 60)])
    assert [(collective.end_ns, collective.end_source) for collective in live[:2]] == [
        (50, "next"),
        (60, "next"),
    ]


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
    assert [(collective.end_ns, collective.end_source) for collective in found] == [
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
