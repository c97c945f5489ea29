"""Where a TUI has its looks from: a reader in a process of its own, or a file.

The live reader is `attach --follow`. In a process of its own nothing of Ray's can hold up or
end the screen: its C++ side keeps the GIL while it waits for a raylet, and aborts when the GCS
is gone. A reader that ended is started again.
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
from dsray_inspect.tui.messages import Arrived, Broke

INSPECT: Final = "from dsray_inspect.agent.cli import main; main()"
END_S: Final = 3.0
MOST_REST_S: Final = 5.0
ANSWER_S: Final = 60.0
RECORDED: Final = "This is a recording: there is no process to ask."
Post = Callable[[Message], object]


class Source(Protocol):
    """Tells what there is to see; `run` is called in a thread of its own."""

    label: str
    is_live: bool

    def run(self, post: Post) -> None: ...

    def ask(self, *words: str) -> tuple[str, str]: ...

    def close(self) -> None: ...


class Recorded:
    """Events that were recorded; they are all there from the start."""

    label = "recorded"
    is_live = False

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = tuple(events)

    def run(self, post: Post) -> None:
        post(Arrived(self._events))

    def ask(self, *_words: str) -> tuple[str, str]:
        return "", RECORDED

    def close(self) -> None:
        pass


class Follower:
    """A reader process on a live job; close it.

    `words` are the arguments that name the cluster and what may be done, as on the command line.
    """

    is_live = True

    def __init__(self, job: str | None, words: Sequence[str], *, every_s: float) -> None:
        self._words = tuple(words)
        self._job = (job,) if job else ()
        self._every_s = every_s
        self._closed = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._has_seen = False
        self._has_ended = False
        self.label = f"live {1 / every_s:g} Hz"

    def start(self) -> None:
        """Start the reader; while it joins the cluster, this process can load its screens."""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed where it is read
        self._child = subprocess.Popen(
            [sys.executable, "-c", INSPECT, *self._argv()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )

    def _argv(self) -> Sequence[str]:
        flags = ("--follow", "--every", str(self._every_s), "--leash", "--columns")
        return ("attach", *self._job, *flags, *self._words)

    def run(self, post: Post) -> None:
        """Tell what the reader sees until the job has ended or we are closed."""
        failures = 0

        while not self._closed.is_set():
            seen, code, said = self._read(post)

            if self._closed.is_set() or self._has_ended:
                return

            if not self._has_seen:
                post(Broke(said, code))
                return

            failures = 1 if seen else failures + 1
            post(Arrived((self._lost(said, code, failures),)))
            self._closed.wait(min(MOST_REST_S, 2.0 ** (failures - 2)))

    def _read(self, post: Post) -> tuple[int, int, str]:
        """Tell what one reader sees while it lives; returns how much, and how it ended."""
        if self._child is None:
            self.start()

        child, seen = self._child, 0
        assert child is not None
        assert child.stdout is not None

        with self._said as said, child.stdout as lines:
            for event in events_of(lines):
                seen += 1
                self._has_seen = True
                self._has_ended = isinstance(event, Ended)
                post(Arrived((event,)))

            code = child.wait()
            said.seek(0)
            text = said.read().decode(errors="replace")

        close_stdin(child)
        self._child = None
        return seen, code, text

    def _lost(self, said: str, code: int, failures: int) -> SampleFailed:
        told = [
            line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")
        ]
        why = told[-1] if told else f"The reader ended with {code}: the cluster does not answer."
        return SampleFailed(why=why, help_text="", failures=failures, at=time.time())

    def ask(self, *words: str) -> tuple[str, str]:
        """Run another command on the same cluster; returns what it printed, and why not."""
        argv = [sys.executable, "-c", INSPECT, *words, *self._words, "--no-color", "--quiet"]

        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_S
            )
        except subprocess.TimeoutExpired:
            return "", f"No answer within {ANSWER_S:.0f} s."

        return (done.stdout, "") if done.stdout else ("", done.stderr.strip() or "Nothing came.")

    def close(self) -> None:
        """End the reader: it ends by itself when its stdin is closed, and has a moment for it."""
        self._closed.set()
        child = self._child

        if child is None:
            return

        close_stdin(child)

        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def close_stdin(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if child.stdin is not None:
            child.stdin.close()
