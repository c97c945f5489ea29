"""What a thread is blocked on, and who has the other end; on real processes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.remote.blocked_calls import CALLS, blocked_calls, end_of, is_local

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/syscall").exists(), reason="this kernel does not tell calls"
)
IDLE = "import sys; print('ready', flush=True); sys.stdin.read()"
DIAL = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def process(code: str, *given: str, pass_fds: tuple[int, ...] = ()) -> Iterator[int]:
    """Run a process that is ready and waits; yields its pid."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=pass_fds,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        assert child.stdin is not None
        child.stdin.close()


def blocked(call: Callable[[], object]) -> list[dict[str, Any]]:
    """Return what a thread is blocked on that makes the call, once it is."""

    def make() -> None:
        with contextlib.suppress(OSError):  # the other end is closed when the test is over
            call()

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    assert thread.native_id is not None

    while not (found := blocked_calls(os.getpid(), [thread.native_id])):
        assert thread.is_alive()

    assert {end.pop("tid") for end in found} == {thread.native_id}
    return found


def read_ends(ends: list[dict[str, Any]]) -> list[tuple[str, str, list[int]]]:
    return [(end["call"], end["kind"], [peer["pid"] for peer in end["peers"]]) for end in ends]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_a_read_of_a_pipe_has_its_writer(pipe: tuple[int, int]) -> None:
    reader, writer = pipe

    with process(IDLE, pass_fds=(writer,)) as pid:
        os.close(writer)
        assert read_ends(blocked(lambda: os.read(reader, 1))) == [("read", "pipe", [pid])]


def test_a_write_to_a_pipe_has_its_reader_only(pipe: tuple[int, int]) -> None:
    reader, writer = pipe

    with process(IDLE, pass_fds=(reader,)) as pid, process(IDLE, pass_fds=(writer,)):
        os.close(reader)
        ends = blocked(lambda: os.write(writer, b"x" * (1 << 20)))
        assert read_ends(ends) == [("write", "pipe", [pid])]


@pytest.mark.parametrize("how", ["select", "poll"])
def test_a_wait_for_several_files_names_each_that_has_another_end(
    pipe: tuple[int, int], how: str
) -> None:
    reader, writer = pipe

    def wait() -> None:
        if how == "select":
            select.select([reader], [], [])
        else:
            asked = select.poll()
            asked.register(reader, select.POLLIN)
            asked.poll()

    with process(IDLE, pass_fds=(writer,)) as pid:
        os.close(writer)
        assert read_ends(blocked(wait)) == [("read", "pipe", [pid])]


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_connection_has_its_address_and_who_is_there(family: int, host: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("this machine has no such address")

    with listener, process(DIAL, host, str(listener.getsockname()[1])) as pid:
        connection, (_, port, *_) = listener.accept()

        with connection:
            [end] = blocked(lambda: connection.recv(1))
            assert end["name"] == (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            assert read_ends([end]) == [("read", "socket", [pid])]


def test_a_named_pipe_has_its_path(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    os.mkfifo(path)
    file = os.open(path, os.O_RDWR)
    [end] = blocked(lambda: os.read(file, 1))
    os.write(file, b"x")
    os.close(file)
    assert (end["kind"], end["name"], end["peers"]) == ("named pipe", str(path), [])


def test_a_file_is_asked_for_its_kind_only_where_no_server_has_to_answer(tmp_path: Path) -> None:
    with (tmp_path / "data").open("w") as file, open("/proc/self/stat") as other:
        assert is_local(os.getpid(), file.fileno())
        assert not is_local(os.getpid(), other.fileno())
        assert not is_local(os.getpid(), 1 << 20)


def test_nothing_is_said_of_other_files_and_other_waits(tmp_path: Path) -> None:
    with (tmp_path / "data").open("w") as file:
        assert list(end_of(os.getpid(), file.fileno())) == []

    assert list(end_of(os.getpid(), 1 << 20)) == []
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    assert blocked_calls(os.getpid(), [thread.native_id or 0, 1 << 30]) == []
    waiting.set()
    thread.join()


def test_no_number_is_two_calls() -> None:
    for numbers in CALLS.values():
        assert len(set(numbers)) == len(numbers) >= 9
