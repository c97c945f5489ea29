"""Early ends of a command: Ctrl-C, SIGTERM, SIGHUP, and its time limit.

Each raises an exception in the main thread, so that `with` blocks clean up. Ray's C++ code can block
that thread for as long as the GCS does not answer, so a second thread also receives the signals and
ends the process if the main thread has not done so within `_GRACE_S`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Final

from dsray_inspect.agent.errors import ExitCode, TimedOut

_GRACE_S: Final = 1.5
_SETTLED: Final = 0
"""Takes the place of a signal number when the command is done."""
_EXIT_CODES: Final = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.INTERRUPTED,
    signal.SIGHUP: ExitCode.INTERRUPTED,
    signal.SIGALRM: ExitCode.TIMEOUT,
}


class LimitPassed(BaseException):
    """Raised in the main thread at the time limit; `except Exception` does not catch it."""


def timed_out() -> TimedOut:
    return TimedOut(
        "The command's time limit has passed.",
        help_text="Raise it with --timeout S, or run `dsray-inspect doctor` to see what does not answer.",
    )


def _raise_end(number: int, _frame: object) -> None:
    """Handle a signal in the main thread."""
    raise LimitPassed if number == signal.SIGALRM else KeyboardInterrupt


class ShutdownGuard:
    """Ensures that the process ends once a signal asked it to; one per process.

    Code that needs more time to clean up installs its own handlers and calls
    `signal.set_wakeup_fd(-1)`.
    """

    def __init__(self) -> None:
        self._code: ExitCode | None = None
        self._receiver, self._sender = os.pipe()
        os.set_blocking(self._sender, False)

    def start(self) -> None:
        """Install the handlers; signals that the shell set to be ignored stay ignored."""
        for number in _EXIT_CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _raise_end)

        signal.set_wakeup_fd(self._sender, warn_on_full_buffer=False)
        threading.Thread(target=self._wait, daemon=True, name="shutdown-guard").start()

    def settle(self, code: ExitCode) -> None:
        """Record the exit code; only interpreter shutdown is left."""
        self._code = code
        os.write(self._sender, bytes((_SETTLED,)))

    def _wait(self) -> None:
        while True:
            for number in os.read(self._receiver, 64):
                if number == _SETTLED or number in _EXIT_CODES:
                    time.sleep(_GRACE_S)
                    self._end(number)

    def _end(self, number: int) -> None:
        if self._code is None:
            self._code = _EXIT_CODES[signal.Signals(number)]

            if self._code == ExitCode.TIMEOUT:
                os.write(2, f"error: {timed_out()}\n".encode())

        os._exit(self._code)
