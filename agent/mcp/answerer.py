"""The process that answers, as the server sees it: started when needed, ended when it is late.

Ray's C++ core can block a process for minutes, and ends it when the cluster is gone. Here, that
costs one tool call an error, and the next call starts another process.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Final

import msgspec

from dsray_inspect.agent.errors import ClusterUnreachable, TimedOut
from dsray_inspect.agent.mcp.calls import ToolCall, ToolReply
from dsray_inspect.agent.mcp.errors import error_reply

_CLI: Final = "from dsray_inspect.agent.cli import main; main()"
_END_TIMEOUT_S: Final = 3.0
_CHUNK_BYTES: Final = 1 << 16
_STDERR_BYTES: Final = 4000
"""The end of what it printed is looked at for why it ended."""


class _Ended(Exception):
    """Raised when the process has ended in the middle of a call."""


class _Late(Exception):
    """Raised when the time for a call is over."""


class Answerer:
    """Passes calls on to a process of its own, one at a time; use it in a `with` block.

    Args:
        command: The command that starts it.
        words: Its arguments, without the option that numbers it.
        limit_s: How long a call may take.
        restart_s: The least time between two starts.
    """

    def __init__(
        self, command: str, words: Sequence[str], *, limit_s: float, restart_s: float
    ) -> None:
        self._command = command
        self._words = tuple(words)
        self._limit_s = limit_s
        self._restart_s = restart_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._starts = 0
        self._started_at: float | None = None
        self._is_closed = False
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Answerer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed = True
        process = self._process

        if process is not None:
            _close(process.stdin)

            # A call whose client has gone may still be in there.
            if not self._one_at_a_time.acquire(timeout=_END_TIMEOUT_S):
                process.kill()
                self._one_at_a_time.acquire()

        self._end()

    def call(self, call: ToolCall) -> ToolReply:
        """Return the reply, or the error that there is none; may be called from any thread."""
        with self._one_at_a_time:
            return self._call(call)

    def _call(self, call: ToolCall) -> ToolReply:
        try:
            process = self._running()
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(call) + b"\n")
            process.stdin.flush()
            line = self._line(process, time.monotonic() + self._limit_s)
            return msgspec.json.decode(line, type=ToolReply)
        except _Late:
            self._end()
            return error_reply(
                TimedOut(
                    f"No answer came within {self._limit_s:g} s: the cluster may be gone or busy.",
                    help_text="Try again; the server's --timeout S sets the limit of a call.",
                )
            )
        except (_Ended, OSError, msgspec.MsgspecError):
            return error_reply(self._lost())

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, started anew if it has ended."""
        if self._process is not None and self._process.poll() is None:
            return self._process

        self._end()

        if self._is_closed:
            raise _Ended

        if self._started_at is not None:
            time.sleep(max(0.0, self._started_at + self._restart_s - time.monotonic()))

        self._starts += 1
        self._started_at = time.monotonic()
        # In memory: a server outlives the cluster, whose temporary folder may be ours as well.
        self._stderr = os.fdopen(os.memfd_create("stderr"), "w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CLI, self._command, f"--answer={self._starts}", *self._words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )
        return self._process

    def _line(self, process: subprocess.Popen[bytes], until: float) -> bytes:
        assert process.stdout is not None
        found = bytearray()

        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)

            while not found.endswith(b"\n"):
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise _Late

                chunk = os.read(process.stdout.fileno(), _CHUNK_BYTES)

                if not chunk:
                    raise _Ended

                found += chunk

        return bytes(found)

    def _lost(self) -> ClusterUnreachable:
        """Return why the process has ended, by its own last words."""
        said = self._last_words()
        self._end()
        return ClusterUnreachable(
            said or "The process that reads the cluster has ended: the cluster may be gone.",
            help_text="Try again: the next call starts another one.",
        )

    def _last_words(self) -> str:
        if self._stderr is None:
            return ""

        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_TIMEOUT_S)

        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _STDERR_BYTES))
        lines = self._stderr.read().decode(errors="replace").splitlines()
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return told[-1] if told else ""

    def _end(self) -> None:
        """End the process: it exits when its stdin is closed, and is killed if it does not."""
        process, self._process = self._process, None

        if process is not None:
            _close(process.stdin)
            _close(process.stdout)

            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_TIMEOUT_S)

            process.kill()
            process.wait()

        stderr, self._stderr = self._stderr, None
        _close(stderr)


def _close(pipe: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError):
        if pipe is not None:
            pipe.close()
