"""The process that answers: one call a line on its stdin, one reply a line on its stdout."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import BinaryIO, Final, NoReturn

import msgspec

from dsray_inspect.agent.mcp.calls import ToolCall
from dsray_inspect.agent.mcp.toolbox import Toolbox

_REST_AFTER_S: Final = 300.0
"""A server that nobody asks for so long leaves the cluster until the next call."""


def answer_calls(toolbox: Toolbox, *, rest_after_s: float = _REST_AFTER_S) -> NoReturn:
    """Answer until stdin is closed, which ends this process even where Ray blocks it."""
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(calls,), daemon=True, name="calls").start()

    with _own_stdout() as out:
        while True:
            try:
                line = calls.get(timeout=rest_after_s)
            except queue.Empty:
                toolbox.rest()
                continue

            reply = toolbox.answer(msgspec.json.decode(line, type=ToolCall))
            out.write(msgspec.json.encode(reply) + b"\n")
            out.flush()


def _read(calls: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        calls.put(line)

    os.kill(os.getpid(), signal.SIGTERM)


def _own_stdout() -> BinaryIO:
    """Return what was stdout, and let whatever prints to it go to stderr."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own
