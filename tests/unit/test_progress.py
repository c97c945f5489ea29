"""What a process waits for an answer from, read from the kernel's own table."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dsray_inspect.agent.onsite.progress import Tables, children, dialled, progress


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address at which connections wait: its queue is full, and nobody takes one from it."""
    with contextlib.ExitStack() as stack:
        end = stack.enter_context(socket.socket())
        end.bind(("127.0.0.1", 0))
        end.listen(0)

        for _ in range(4):
            dial = stack.enter_context(socket.socket())
            dial.setblocking(False)
            dial.connect_ex(end.getsockname())

        yield f"127.0.0.1:{end.getsockname()[1]}"


def test_names_the_address_that_gives_no_answer(deaf: str) -> None:
    assert progress(os.getpid())["dials"] == [deaf]


def test_the_table_of_a_namespace_is_read_once(deaf: str) -> None:
    tables: Tables = {}
    assert dialled(os.getpid(), tables) == [deaf]
    assert dialled(os.getppid(), tables) == []
    (table,) = tables.values()
    table.clear()
    assert dialled(os.getpid(), tables) == []


def test_lists_the_children_of_a_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in [one["pid"] for one in children(os.getpid())]
        child.communicate(b"\n")

    assert child.pid not in [one["pid"] for one in children(os.getpid())]
