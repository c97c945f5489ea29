"""Where snapshots come from: a reader process on a live job, or a file.

The live reader is `attach --follow` in a process of its own, so that nothing in Ray can block or end
the screen: Ray's C++ core holds the GIL while it waits for a raylet, and aborts the process when the
GCS is gone. A reader that ends unexpectedly is restarted.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from textual.message import Message

from dsray_inspect.agent.feed import Ended, Event, SampleFailed
from dsray_inspect.agent.recording import events_of
from dsray_inspect.tui.messages import EventsArrived, ReaderFailed

CLI: Final = "from dsray_inspect.agent.cli import main; main()"
END_TIMEOUT_S: Final = 3.0
_MAX_RESTART_DELAY_S: Final = 5.0
_ASK_TIMEOUT_S: Final = 60.0
IS_RECORDING: Final = "This is a recording: there is no process to ask."
Post = Callable[[Message], object]


class Source(Protocol):
    """Delivers events about one job."""

    label: str
    is_live: bool

    def run(self, post: Post) -> None:
        """Post events until there are no more; called in a thread of its own."""

    def ask(self, *args: str) -> tuple[str, str]:
        """Run another command on the same cluster; returns its output, or "" and the problem."""

    def close(self) -> None: ...


class RecordedSource:
    """Recorded events, all of which are there from the start."""

    label = "recorded"
    is_live = False

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = tuple(events)

    def run(self, post: Post) -> None:
        post(EventsArrived(self._events))

    def ask(self, *_args: str) -> tuple[str, str]:
        return "", IS_RECORDING

    def close(self) -> None:
        pass


class LiveSource:
    """A reader process on a live job, to be closed by its owner.

    Args:
        job: The job to follow; None for the only one that runs.
        options: Command-line options that select the cluster and limit what may be read.
        every_s: Seconds between samples.
    """

    is_live = True

    def __init__(self, job: str | None, options: Sequence[str], *, every_s: float) -> None:
        self._options = tuple(options)
        self._job = (job,) if job else ()
        self._every_s = every_s
        self._closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._had_events = False
        self._has_ended = False
        self.label = f"live {1 / every_s:g} Hz"

    def start(self) -> None:
        """Start the reader; it can join the cluster while this process imports its screens."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed where it is read
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLI, *self._arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )

    def _arguments(self) -> Sequence[str]:
        flags = ("--follow", "--every", str(self._every_s), "--end-with-stdin", "--columns")
        return ("attach", *self._job, *flags, *self._options)

    def run(self, post: Post) -> None:
        """Post what the reader sees until the job has ended or the source is closed."""
        failures = 0

        while not self._closed.is_set():
            count, code, stderr = self._read(post)

            if self._closed.is_set() or self._has_ended:
                return

            if not self._had_events:
                post(ReaderFailed(stderr, code))
                return

            failures = 1 if count else failures + 1
            post(EventsArrived((_reader_lost(stderr, code, failures),)))
            self._closed.wait(min(_MAX_RESTART_DELAY_S, 2.0 ** (failures - 2)))

    def _read(self, post: Post) -> tuple[int, int, str]:
        """Post the events of one reader; returns their number, its exit code and its stderr."""
        if self._process is None:
            self.start()

        process, count = self._process, 0
        assert process is not None
        assert process.stdout is not None

        with self._stderr as stderr, process.stdout as lines:
            for event in events_of(lines):
                count += 1
                self._had_events = True
                self._has_ended = isinstance(event, Ended)
                post(EventsArrived((event,)))

            code = process.wait()
            stderr.seek(0)
            text = stderr.read().decode(errors="replace")

        _close_stdin(process)
        self._process = None
        return count, code, text

    def ask(self, *args: str) -> tuple[str, str]:
        argv = [sys.executable, "-c", CLI, *args, *self._options, "--no-color", "--quiet"]

        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_ASK_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return "", f"No answer within {_ASK_TIMEOUT_S:.0f} s."

        return (done.stdout, "") if done.stdout else ("", done.stderr.strip() or "Empty answer.")

    def close(self) -> None:
        """End the reader: it exits when its stdin is closed, and is killed if it does not."""
        self._closed.set()
        process = self._process

        if process is None:
            return

        _close_stdin(process)

        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _reader_lost(stderr: str, code: int, failures: int) -> SampleFailed:
    errors = [
        line.removeprefix("error: ") for line in stderr.splitlines() if line.startswith("error: ")
    ]
    why = (
        errors[-1]
        if errors
        else f"The reader ended with code {code}: the cluster is not responding."
    )
    return SampleFailed(why=why, help_text="", failures=failures, at=time.time())


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
