"""Answers of other processes as records, and what becomes of those that are not as agreed on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.assemble.threads import threads_of
from dsray_inspect.agent.launchers.base import CallFailed
from dsray_inspect.agent.remote.environ import EnvironUnreadable
from dsray_inspect.agent.remote.pyspy import explain
from dsray_inspect.agent.remote.unavailable import unavailable
from dsray_inspect.agent.sampling.decode import (
    UNCHANGED,
    controller_report,
    failed_call,
    node_report,
    process_probe,
    rank_report,
)
from dsray_inspect.agent.sampling.process_probe import NOT_DUMPED, StackDump
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.unavailable import NOT_ASKED, REASONS, Unavailable
from tests.unit.samples import IN_USER, node, rank

MAIN = {
    "thread_name": "MainThread",
    "os_thread_id": 7,
    "owns_gil": True,
    "frames": [{"name": "f", "filename": "/app/train.py", "line": 3}],
}
GPU = {"index": 0, "uuid": "GPU-1", "name": "x", "utilization": None, "memory_used_bytes": 1}


def dumped(*threads: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"stack": {"json": msgspec.json.encode(threads), **more}}


def test_what_a_rank_was_not_asked_for_says_so() -> None:
    report = rank_report(rank(0, IN_USER, 1.0), StackTable())
    assert isinstance(report, RankReport)
    assert (report.environ, report.deepspeed, report.collectives) == (NOT_ASKED,) * 3
    assert (report.counters, report.health, report.builds) == (None, None, None)


def test_what_a_rank_could_not_read_keeps_its_reason() -> None:
    why = unavailable("failed", "DeepSpeed is not imported in this process")
    report = rank_report(
        {**rank(0, IN_USER, 1.0), "deepspeed": why, "unchanged": ["environment"]}, StackTable()
    )
    assert isinstance(report, RankReport)
    assert report.deepspeed == Unavailable(**why)
    assert report.environ == UNCHANGED


@pytest.mark.parametrize(
    "broken",
    [
        {"counters": {"cpu_s": "many"}},
        {"threads": [{"name": "MainThread"}]},
        {"deepspeed": {"version": 1}},
        {"collectives": [{}]},
        {"locks": 5},
    ],
)
def test_an_answer_that_cannot_be_decoded_is_unavailable(broken: dict[str, Any]) -> None:
    report = rank_report({**rank(0, IN_USER, 1.0), **broken}, StackTable())
    assert isinstance(report, Unavailable)
    assert report.reason == "malformed"


def test_a_controller_that_cannot_be_decoded_is_unavailable() -> None:
    report = controller_report({"state": "RUNNING", "workers": [{"rank": 0}]}, StackTable())
    assert isinstance(report, Unavailable)
    assert report.reason == "malformed"


def test_a_dump_is_parsed_and_labelled() -> None:
    probe = process_probe(dumped(MAIN, note="without native frames", pause_ms=4.0), StackTable())
    assert isinstance(probe.stack, StackDump)
    assert [frame.layer for frame in probe.stack.threads[0].frames] == ["user"]
    assert (probe.stack.note, probe.stack.pause_ms) == ("without native frames", 4.0)
    assert probe.stack.source == "py-spy"
    signalled = process_probe(dumped(MAIN, rung4=True), StackTable()).stack
    assert isinstance(signalled, StackDump)
    assert signalled.source == "faulthandler"


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ({}, "not_asked"),
        (dumped(), "not_running"),
        ({"stack": {"json": b"Error: permission denied"}}, "malformed"),
        ({"stack": explain("Error: Permission denied", 1)}, "no_ptrace"),
        ({"stack": explain("Error: No such process", 1)}, "not_running"),
    ],
)
def test_why_there_is_no_stack(wire: dict[str, Any], reason: str) -> None:
    stack = process_probe(wire, StackTable()).stack
    assert isinstance(stack, Unavailable)
    assert stack.reason == reason


def test_every_reason_that_remote_code_gives_is_known() -> None:
    given = {
        explain(stderr, 1)["reason"]
        for stderr in ("permission denied", "no such process", "unsupported version", "")
    } | {EnvironUnreadable("x").reason, "no_ptrace", "not_installed", "timeout", "not_asked"}
    assert given <= set(REASONS)


def test_two_reads_of_one_sample_are_put_together() -> None:
    first = node({"processes": {7: {**dumped(MAIN), "rss_bytes": 5}}, "gpus": [GPU]})
    second = node({"processes": {7: {"state": "alive", **dumped(MAIN)}, 8: {"state": "gone"}}})
    both = first.updated(second)
    probe = both.process(7)
    assert (probe.state, probe.rss_bytes) == ("alive", 5)
    assert probe.earlier_stack == first.process(7).stack
    assert both.process(8).state == "gone"
    again = both.updated(
        node({"processes": {7: {"rss_bytes": 6}}, "gpus": unavailable("not_asked", "")})
    )
    assert again.process(7).stack == probe.stack
    assert again.process(7).rss_bytes == 6
    assert again.gpus == first.gpus


def test_gpus_that_were_not_asked_for_do_not_replace_those_that_were() -> None:
    none = node_report(
        {"hostname": "h", "processes": {}, "gpus": unavailable("not_asked", "not asked")},
        StackTable(),
    )
    read = node({"gpus": [GPU]})
    assert read.updated(none).gpus == none.updated(read).gpus == read.gpus
    failed = node({"gpus": unavailable("not_installed", "no NVML binding on this node")})
    assert isinstance(failed.gpus, Unavailable)
    assert failed.gpus.reason == "not_installed"


def test_a_process_that_has_ended_is_told_so() -> None:
    assert str(threads_of((), process_probe({"state": "gone"}, StackTable())).unavailable) == (
        "the process has ended"
    )
    assert threads_of((), process_probe({"state": "alive"}, StackTable())).unavailable == NOT_DUMPED


@pytest.mark.parametrize(("dead", "reason"), [(True, "died"), (False, "failed")])
def test_a_call_that_failed_says_whether_the_actor_died(dead: bool, reason: str) -> None:
    failure = failed_call(CallFailed("the actor has died: x", dead=dead))
    assert (failure.reason, str(failure)) == (reason, "the actor has died: x")
