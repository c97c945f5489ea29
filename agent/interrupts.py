"""What ends a command early: Ctrl-C, SIGTERM, SIGHUP, and its time limit.

Each becomes an exception in the main thread, so that everything is put in order on the way
out. Ray's C++ side may keep that thread for as long as the GCS is silent, though; a second
thread hears the signals too, and ends the process when the first has not in `GRACE_S`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Final

from dsray_inspect.agent.errors import ExitCode, TimedOut

GRACE_S: Final = 1.5
SETTLED: Final = 0
ENDINGS: Final = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.INTERRUPTED,
    signal.SIGHUP: ExitCode.INTERRUPTED,
    signal.SIGALRM: ExitCode.TIMEOUT,
}


class LimitPassed(BaseException):
    """Raised in the main thread at the time limit; no `except Exception` on the way stops it."""


def timed_out() -> TimedOut:
    return TimedOut(
        "The command's time limit has passed.",
        help_text="Give it more with --timeout S, or see with `dsray-inspect doctor` what does "
        "not answer.",
    )


def on_end(number: int, _frame: object) -> None:
    """Raise what a signal means, in the main thread."""
    raise LimitPassed if number == signal.SIGALRM else KeyboardInterrupt


class ShutdownGuard:
    """Sees to it that the process ends once it was told to; one for a process, while it lives.

    Who wants more time to clean up sets handlers of its own and `signal.set_wakeup_fd(-1)`.
    """

    def __init__(self) -> None:
        self._code: ExitCode | None = None
        self._heard, self._told = os.pipe()
        os.set_blocking(self._told, False)

    def start(self) -> None:
        """Take the signals; those that the shell ignores stay ignored."""
        for number in ENDINGS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, on_end)

        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        threading.Thread(target=self._wait, daemon=True, name="end-watch").start()

    def settle(self, code: ExitCode) -> None:
        """Say that all is said and done: what is left is the interpreter's own end."""
        self._code = code
        os.write(self._told, bytes((SETTLED,)))

    def _wait(self) -> None:
        while True:
            for number in os.read(self._heard, 64):
                if number == SETTLED or number in ENDINGS:
                    time.sleep(GRACE_S)
                    self._end(number)

    def _end(self, number: int) -> None:
        if self._code is None:
            self._code = ENDINGS[signal.Signals(number)]

            if self._code == ExitCode.TIMEOUT:
                os.write(2, f"error: {timed_out()}\n".encode())

        os._exit(self._code)
