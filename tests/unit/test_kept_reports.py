"""When the report of a rank holds without asking the rank again."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.remote.run_times import run_times
from dsray_inspect.agent.remote.threads import all_threads
from dsray_inspect.agent.sampling import kept_reports
from dsray_inspect.agent.sampling.decode import rank_report
from dsray_inspect.agent.sampling.kept_reports import KeptReports
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.sampling.process_probe import ProcessProbe, StackDump
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable
from tests.unit.samples import node
from tests.unit.test_session_cache import COLLECTIVES, NO_ENGINE, Clock

EVERYTHING = SampleRequest(max_pause_ms=100, counters=True)
PROBE = ProcessProbe(state="alive", rss_bytes=7)
COUNTERS: dict[str, Any] = {"cpu_s": 1.0, "moved_bytes": 5}
CHILD = {"pid": 9, "name": "unzip", "state": "R", "cpu_s": 0.5}
LOCK = {"kind": "flock", "path": "/a", "holder": 4, "holder_name": "b"}
SILENT = Unavailable(reason="timeout", detail="its main thread did not answer")
TRAINING = {"name": "train", "tid": 7, "frames": "", "idle_s": 1.5, "ran_s": 1.25}
LOADER = {"name": "loader", "tid": 8, "frames": "", "idle_s": 60.0, "ran_s": 0.0}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kept_reports, "time", clock)
    return clock


def report(**more: Any) -> RankReport:
    answer = {
        "threads": [TRAINING, LOADER],
        "deepspeed": NO_ENGINE,
        "counters": COUNTERS,
        "pause_ms": 2.0,
        **COLLECTIVES,
        **more,
    }
    decoded = rank_report(answer, StackTable())
    assert isinstance(decoded, RankReport)
    return decoded


def kept(**more: Any) -> KeptReports:
    reports = KeptReports()
    reports.keep("a", report(**more), PROBE, EVERYTHING)
    return reports


def test_a_report_holds_while_no_thread_has_run(clock: Clock) -> None:
    reports = kept()
    clock.now += 3
    assert reports.watched("a", EVERYTHING) == [7, 8]
    holding = reports.holding("a", [1.25, 0.0])
    assert holding is not None
    again = holding.report
    assert isinstance(again, RankReport)
    assert holding.probe == PROBE
    assert [thread.idle_s for thread in again.threads] == [4.5, 63.0]
    assert again.newest_age_s == 5.5
    assert isinstance(again.collectives, tuple)
    assert [entry.age_s for entry in again.collectives] == [5.5]
    assert again.pause_ms == 0
    unchanged = {"threads", "newest_age_s", "collectives", "pause_ms"}
    for name in set(RankReport.__struct_fields__) - unchanged:
        assert getattr(again, name) == getattr(report(), name), name


@pytest.mark.parametrize("times_s", [[1.26, 0.0], [1.25, None], [1.25, 0.01], []])
def test_a_thread_that_has_run_or_ended_makes_it_void(times_s: list[float | None]) -> None:
    assert kept().holding("a", times_s) is None


@pytest.mark.parametrize(
    "more",
    [
        {"threads": []},
        {"threads": [{**TRAINING, "tid": None}]},
        {"threads": [{**TRAINING, "ran_s": None}]},
        {"threads": [{**TRAINING, "idle_s": None}]},
        {"threads": [{**TRAINING, "idle_s": 0.9}]},
        {"failed": ["OSError: x"]},
        {"locks": [{"path": "/lock", "age_s": 1.0}]},
        {"counters": {**COUNTERS, "children": [CHILD]}},
        {"counters": {**COUNTERS, "dials": ["10.0.0.1:1"]}},
        {"counters": {**COUNTERS, "file_locks": [LOCK]}},
    ],
)
def test_a_report_that_rests_on_more_than_threads_is_not_kept(more: dict[str, Any]) -> None:
    assert kept(**more).watched("a", EVERYTHING) == []


def dumped(**more: Any) -> ProcessProbe:
    """Return a process as its node sees it, with its stack by py-spy."""
    threads = [{"thread_name": "MainThread", "os_thread_id": 7, "frames": []}]
    told: dict[str, Any] = {
        "state": "alive",
        "idle_s": {7: 2.0, 9: 0.0},
        "cpu_times_s": {7: (1.25, 0.0), 9: (3.0, 0.0)},
        "stack": {"json": json.dumps(threads).encode()},
        **more,
    }
    return node({"processes": {10: told}}).process(10)


def kept_outside(why: Unavailable = SILENT, **more: Any) -> KeptReports:
    reports = KeptReports()
    reports.keep("a", why, dumped(**more), EVERYTHING)
    return reports


def test_the_stack_of_a_silent_rank_holds_while_none_of_its_python_threads_has_run(
    clock: Clock,
) -> None:
    reports = kept_outside()
    clock.now += 3
    assert reports.watched("a", EVERYTHING) == [7]
    assert reports.holding("a", [1.3]) is None
    holding = reports.holding("a", [1.25])
    assert holding is not None
    assert holding.report is SILENT
    assert isinstance(holding.probe.stack, StackDump)
    assert holding.probe.idle_s == {7: 5.0, 9: 3.0}


@pytest.mark.parametrize(
    "more",
    [
        {"idle_s": {7: 0.5}},
        {"idle_s": {}},
        {"cpu_times_s": {}},
        {"stack": {"reason": "failed", "detail": "no right"}},
        {"counters": {**COUNTERS, "children": [CHILD]}},
    ],
)
def test_a_stack_that_may_change_is_not_kept(more: dict[str, Any]) -> None:
    assert kept_outside(**more).watched("a", EVERYTHING) == []


def test_the_stack_of_a_rank_that_died_is_not_kept() -> None:
    assert kept_outside(Unavailable(reason="died", detail="x")).watched("a", EVERYTHING) == []


@pytest.mark.parametrize(
    "change",
    [{"counters": False}, {"deepspeed": False}, {"recorder": "always"}, {"native": True}],
)
def test_another_request_asks_again(change: dict[str, Any]) -> None:
    other = msgspec.structs.replace(EVERYTHING, **change)
    assert kept().watched("a", other) == []


def test_a_rank_is_asked_again_after_a_while_and_when_it_did_not_answer(clock: Clock) -> None:
    reports = kept()
    clock.now += kept_reports.LONGEST_S + 0.1
    assert reports.watched("a", EVERYTHING) == []

    reports = kept()
    reports.keep("a", NOT_ASKED, PROBE, EVERYTHING)
    assert reports.watched("a", EVERYTHING) == []


def test_a_thread_that_waits_has_the_time_it_reported_and_one_that_ran_has_not() -> None:
    turn, ran, is_done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        turn.wait()
        sum(number * number for number in range(100_000))
        ran.set()
        is_done.wait()

    thread = threading.Thread(target=work, name="kept")
    thread.start()

    try:
        assert thread.native_id is not None
        watched = {os.getpid(): [thread.native_id]}

        while sampled_s(watched) != [before_s := reported_s()]:
            pass  # it has yet to come to where it waits

        turn.set()
        assert ran.wait(timeout=60)
        assert sampled_s(watched) != [before_s]
    finally:
        turn.set()
        is_done.set()
        thread.join()


def reported_s() -> float:
    """Return how long the thread has run, as its process says."""
    [thread] = [thread for thread in all_threads() if thread["name"] == "kept"]
    ran_s = thread["ran_s"]
    assert isinstance(ran_s, float)
    return ran_s


def sampled_s(watched: dict[int, list[int]]) -> list[float | None]:
    """Return it as another process sees it, which this one's main thread sleeps for."""
    code = f"from {run_times.__module__} import run_times; print(run_times({watched}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[int, list[float | None]] = ast.literal_eval(done.stdout)
    return found[os.getpid()]
