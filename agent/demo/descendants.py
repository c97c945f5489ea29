"""Finds and kills all descendants of this process, even if their parents have died."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_GONE_S = 20.0
_EXEC_WITH_DEATH_SIGNAL = (
    f"import ctypes, os, sys; ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGTERM)}); "
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents die, so that none escapes."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def with_death_signal(argv: list[str]) -> list[str]:
    """Return a command line whose process gets SIGTERM when this process dies, even by SIGKILL."""
    return [sys.executable, "-c", _EXEC_WITH_DEATH_SIGNAL, str(os.getpid()), *argv]


def titled(title: str) -> list[psutil.Process]:
    """Return the descendants whose command line starts with `title`, such as a Ray worker's class."""
    found = []

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)

    return found


def end_all() -> None:
    """Kill and reap all descendants until none is left."""
    deadline = time.monotonic() + _GONE_S

    while time.monotonic() < deadline:
        live = [child for child in psutil.Process().children(recursive=True) if _is_alive(child)]

        for process in live:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

        _reap()

        if not live:
            return

        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)

    return False


def _reap() -> None:
    """Reap ended children."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
