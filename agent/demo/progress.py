"""Progress messages of the demo: one line per stage, with its duration."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_TICK_S = 0.2
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_CLEAR = "\r\033[K"


class Progress:
    """Writes to stderr. On a terminal a stage's line is animated; elsewhere each message appears once."""

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        can_move = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._live = can_move and not quiet

    def say(self, text: str = "") -> None:
        if not self._quiet:
            print(text, file=self._stream, flush=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """Show a stage while its block runs; its line remains if the block succeeds."""
        stage = Stage(title, None if self._live else self)
        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(stage, ended), daemon=True)

        if self._live:
            ticker.start()
        else:
            self.say(f"{title} …")

        try:
            yield stage
            stage.note = ""
        finally:
            ended.set()

            if self._live:
                ticker.join()
                self._stream.write(_CLEAR)
                self._stream.flush()

        self.say(f"✓ {stage.line()}" if self._live else f"  done in {stage.age_s():.1f} s")

    def _tick(self, stage: Stage, ended: threading.Event) -> None:
        ticks = 0

        while not ended.wait(_TICK_S):
            width = shutil.get_terminal_size().columns - 1
            frame = _FRAMES[ticks % len(_FRAMES)]
            self._stream.write(f"{_CLEAR}{frame} {stage.line()}"[: width + len(_CLEAR)])
            self._stream.flush()
            ticks += 1


class Stage:
    """A running stage."""

    def __init__(self, title: str, progress: Progress | None) -> None:
        self.title = title
        self.note = ""
        self._progress = progress
        self._notes: set[str] = set()
        self._started = time.monotonic()

    def update(self, note: str) -> None:
        """Show what the stage is doing; repeated notes appear only once."""
        self.note = note

        if self._progress is not None and note not in self._notes:
            self._notes.add(note)
            self._progress.say(f"  {note}")

    def age_s(self) -> float:
        return time.monotonic() - self._started

    def line(self) -> str:
        note = f": {self.note}" if self.note else ""
        return f"{self.title}{note}  {self.age_s():.1f} s"
