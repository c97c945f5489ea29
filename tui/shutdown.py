"""An orderly end when the terminal is closed or the process is told to terminate."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.tui.source import Source

_GRACE_S: Final = 2.0


def end_on_signals(source: Source, end: Callable[[], object]) -> None:
    """Call `end` on SIGTERM and SIGHUP, and end the process anyway if that is not enough."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        threading.Thread(target=_end_after_grace, args=(source,), daemon=True).start()
        end()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, on_signal)


def _end_after_grace(source: Source) -> None:
    """End a process that has not ended by itself: writing to a closed terminal may block it."""
    time.sleep(_GRACE_S)
    source.close()
    os._exit(int(ExitCode.INTERRUPTED))
