"""Waits that have an owner outside torch: file locks, pipes, sockets, coroutines of an event loop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.remote.file_locks import awaited_file_locks
from dsray_inspect.agent.remote.threads import all_threads, unpacked
from tests.unit.samples import RUNNER, TEACH, stands, twice, waits

TAKE = """
import fcntl, sys
file = open(sys.argv[1], "w")
print("about to", flush=True)
getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX)
"""


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_names_the_holder_of_a_lock_that_a_process_waits_for(tmp_path: Path, call: str) -> None:
    path = tmp_path / "cache.lock"

    with path.open("w") as file:
        getattr(fcntl, call)(file, fcntl.LOCK_EX)
        command = [sys.executable, "-c", TAKE, str(path), call]

        with subprocess.Popen(command, stdout=subprocess.PIPE) as waiter:
            assert waiter.stdout is not None
            waiter.stdout.readline()
            found = until(lambda: awaited_file_locks(waiter.pid))
            waiter.terminate()

    assert [(wait["path"], wait["holder"]) for wait in found] == [(str(path), os.getpid())]
    assert awaited_file_locks(os.getpid()) == []


def until(read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20

    while not (found := read()) and time.monotonic() < deadline:
        time.sleep(0.02)

    return found


class Stage:
    """What the coroutines below wait for, so that they can be let go."""

    def __init__(self) -> None:
        self.open: asyncio.Event | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.is_set = threading.Event()

    async def label(self) -> None:
        self.loop, self.open = asyncio.get_running_loop(), self.open or asyncio.Event()
        self.is_set.set()
        await self.open.wait()

    async def by_wait(self) -> None:
        await asyncio.wait([asyncio.create_task(self.label()) for _ in range(2)])

    async def by_gather(self) -> None:
        await asyncio.gather(self.label(), self.label())

    async def by_task(self) -> None:
        await asyncio.create_task(self.label())

    async def by_timeout(self) -> None:
        await asyncio.wait_for(self.label(), 600)


@contextmanager
def running(stage: Stage, call: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    thread = threading.Thread(target=lambda: asyncio.run(call()), name="awaits")
    thread.start()

    try:
        yield
    finally:
        assert stage.is_set.wait(20)
        assert stage.loop is not None
        assert stage.open is not None
        stage.loop.call_soon_threadsafe(stage.open.set)
        thread.join()


def names_of(thread: str) -> list[str]:
    frames = next(row["frames"] for row in all_threads() if row["name"] == thread)
    return [name for name, _, _, _ in unpacked(frames)]


@pytest.mark.parametrize("call", ["label", "by_wait", "by_gather", "by_task", "by_timeout"])
def test_an_idle_event_loop_shows_the_coroutines_that_it_waits_for(call: str) -> None:
    stage = Stage()

    with running(stage, getattr(stage, call)):
        names = until_names(lambda: names_of("awaits"), "label")

    assert "select" not in names
    assert names.index("run_until_complete") < names.index(call) <= names.index("label")


def until_names(read: Callable[[], list[str]], wanted: str) -> list[str]:
    deadline = time.monotonic() + 20

    while wanted not in (names := read()) and time.monotonic() < deadline:
        time.sleep(0.02)

    return names


def test_a_loop_that_runs_a_callback_shows_its_own_stack() -> None:
    go = threading.Event()

    async def blocks() -> None:
        go.wait()

    thread = threading.Thread(target=lambda: asyncio.run(blocks()), name="runs")
    thread.start()
    names = until_names(lambda: names_of("runs"), "blocks")
    go.set()
    thread.join()
    assert "run_forever" in names


LOOP = (
    "run_until_complete",
    "run_until_complete",
    "/usr/lib/python3.11/asyncio/base_events.py",
    650,
)
FETCH = ("fetch_labels", "fetch_labels", "/app/train.py", 196)
LABEL = ("one_label", "one_label", "/app/train.py", 200)
EVENT = ("wait", "Event.wait", "/usr/lib/python3.11/asyncio/locks.py", 213)


def test_a_rank_in_an_event_loop_is_blamed_for_its_coroutine() -> None:
    frames = (RUNNER, TEACH, LOOP, FETCH, LABEL, EVENT)
    snapshot = twice(waits(0), stands(1, frames), waits(2))
    assert snapshot.verdict.ranks == (1,)
    assert "one_label (train.py:200)" in snapshot.verdict.summary
    assert snapshot.findings[0].evidence[0] == (
        "rank 1: its event loop waits for coroutine one_label (train.py:200), awaited by "
        "fetch_labels (train.py:196)"
    )


LOCKED = {"kind": "flock", "path": "/data/cache.lock", "holder": 101, "holder_name": "python"}


@pytest.mark.parametrize(
    ("change", "owner"),
    [
        ({}, "held by rank 1 (pid 101)"),
        ({"holder": 4242, "holder_name": "rsync"}, "held by pid 4242 (rsync), which is no rank"),
        ({"holder": 0, "holder_name": ""}, "held by a process that the kernel does not name"),
    ],
)
def test_a_rank_that_waits_for_a_file_lock_says_whose_it_is(
    change: dict[str, Any], owner: str
) -> None:
    frames = (RUNNER, TEACH, ("build_cache", "build_cache", "/app/train.py", 30))
    blocked = stands(0, frames, file_locks=[{**LOCKED, **change}])
    snapshot = twice(blocked, waits(1), waits(2))
    assert snapshot.verdict.ranks == (0,)
    assert snapshot.findings[0].evidence[0] == (
        f"rank 0: waits for the file lock of /data/cache.lock, {owner}"
    )


COMMUNICATE = ("_communicate", "Popen._communicate", "/usr/lib/python3.11/subprocess.py", 2108)


@pytest.mark.parametrize(("inner", "is_named"), [(COMMUNICATE, True), (EVENT, False)])
def test_a_rank_that_waits_for_a_child_process_names_it(inner: Any, is_named: bool) -> None:
    children = [{"pid": 99, "name": "rsync", "state": "S", "cpu_s": 0.1}]
    frames = (RUNNER, TEACH, ("copy", "copy", "/app/train.py", 44), inner)
    snapshot = twice(waits(0), stands(1, frames, children=children), waits(2))
    line = "rank 1: waits for its child rsync, pid 99, state S"
    assert (line in snapshot.findings[0].evidence) is is_named


def test_the_graph_leads_from_a_lock_to_the_rank_that_holds_it() -> None:
    frames = (RUNNER, TEACH, ("build_cache", "build_cache", "/app/train.py", 30))
    snapshot = twice(stands(0, frames, file_locks=[LOCKED]), waits(1), waits(2))
    edges = [(edge.waiter, edge.awaited) for edge in snapshot.graph.edges]
    assert ("rank 0", "/data/cache.lock") in edges
    assert ("/data/cache.lock", "rank 1") in edges


READS = {"tid": 7, "call": "read", "kind": "pipe", "name": "", "peers": []}
FFMPEG, RANK_2 = {"pid": 77, "name": "ffmpeg"}, {"pid": 102, "name": "python"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "waits to read from a pipe"),
        (
            {"peers": [FFMPEG, RANK_2]},
            "waits to read from a pipe, whose other end is held by pid 77 (ffmpeg), rank 2 (pid 102)",
        ),
        (
            {"kind": "socket", "name": "10.0.0.9:5432"},
            "waits to read from a connection to 10.0.0.9:5432",
        ),
        (
            {"call": "write", "kind": "named pipe", "name": "/run/metrics", "peers": [FFMPEG]},
            "waits to write to a named pipe /run/metrics, whose other end is held by pid 77 (ffmpeg)",
        ),
    ],
)
def test_a_rank_that_waits_for_the_other_end_of_a_pipe_says_who_has_it(
    change: dict[str, Any], line: str
) -> None:
    frames = (RUNNER, TEACH, ("next_frame", "next_frame", "/app/train.py", 30))
    blocked = stands(0, frames, blocked_calls=[{**READS, **change}])
    snapshot = twice(blocked, waits(1), waits(2))
    assert snapshot.verdict.ranks == (0,)
    assert f"rank 0: {line}" in snapshot.findings[0].evidence


def test_what_another_thread_of_a_rank_waits_for_is_not_told() -> None:
    frames = (RUNNER, TEACH, ("next_frame", "next_frame", "/app/train.py", 30))
    blocked = stands(0, frames, blocked_calls=[{**READS, "tid": 99}])
    snapshot = twice(blocked, waits(1), waits(2))
    assert not any("pipe" in line for line in snapshot.findings[0].evidence)


def test_the_graph_leads_to_the_process_at_the_other_end() -> None:
    frames = (RUNNER, TEACH, ("next_frame", "next_frame", "/app/train.py", 30))
    call = {**READS, "peers": [FFMPEG, RANK_2]}
    snapshot = twice(stands(0, frames, blocked_calls=[call]), waits(1), waits(2))
    edges = {edge.awaited: edge.because for edge in snapshot.graph.edges if edge.waiter == "rank 0"}
    because = "waits for it to write to the pipe"
    assert edges == {"pid 77": because, "rank 2": because}
