"""What a process has done, and what it waits for, as the kernel tells it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dsray_inspect.agent.remote import sockets as sockets
from dsray_inspect.agent.remote.activity_counters import activity_counters, children
from dsray_inspect.agent.remote.sockets import Tables, own_traffic, traffic

LOOPBACKS = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
MESSAGE_BYTES = 100_000


def counters(*, of_itself: bool) -> dict[str, Any]:
    """Return what this process has done, as it or as another would read it."""
    pid = os.getpid()
    return activity_counters(pid, own_traffic() if of_itself else traffic(pid, {}))


def dials(*, of_itself: bool) -> list[str]:
    found: list[str] = counters(of_itself=of_itself)["dials"]
    return found


@pytest.fixture(params=LOOPBACKS, ids=["v4", "v6"])
def deaf(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address at which connections wait: its queue is full, and nobody takes one from it."""
    family, host = request.param

    with contextlib.ExitStack() as stack:
        end = stack.enter_context(socket.socket(family))
        end.bind((host, 0))
        end.listen(0)

        for _ in range(4):
            dial = stack.enter_context(socket.socket(family))
            dial.setblocking(False)
            dial.connect_ex(end.getsockname())

        yield f"{host}:{end.getsockname()[1]}"


@pytest.mark.parametrize("of_itself", [False, True])
def test_names_the_address_that_gives_no_answer(deaf: str, of_itself: bool) -> None:
    assert dials(of_itself=of_itself) == [deaf]


def test_a_process_that_reads_itself_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    dials(of_itself=True)


def test_names_it_where_the_kernel_lists_no_sockets(
    deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "NETLINK_SOCK_DIAG", 31)
    assert dials(of_itself=False) == [deaf]


def test_the_connections_of_a_namespace_are_read_once(deaf: str) -> None:
    tables: Tables = {}
    assert traffic(os.getpid(), tables)[0] == [deaf]

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert traffic(child.pid, tables)[0] == []

    (table,) = tables.values()
    table.clear()
    assert traffic(os.getpid(), tables)[0] == []


@pytest.mark.parametrize("of_itself", [False, True])
@pytest.mark.parametrize(("family", "host"), LOOPBACKS, ids=["v4", "v6"])
def test_counts_what_comes_over_the_network(
    family: socket.AddressFamily, host: str, of_itself: bool
) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server((host, 0), family=family))
        sender = stack.enter_context(socket.create_connection(server.getsockname()[:2]))
        receiver = stack.enter_context(server.accept()[0])
        before = counters(of_itself=of_itself)["moved_bytes"]
        sender.sendall(bytes(MESSAGE_BYTES))
        left = MESSAGE_BYTES

        while left:
            left -= len(receiver.recv(left))

        moved = counters(of_itself=of_itself)["moved_bytes"] - before

    # What was sent counts when it is acknowledged.
    assert moved >= MESSAGE_BYTES


def test_lists_the_children_of_a_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in [one["pid"] for one in children(os.getpid())]
        child.communicate(b"\n")

    assert child.pid not in [one["pid"] for one in children(os.getpid())]
