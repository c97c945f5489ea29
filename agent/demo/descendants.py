"""Every process that comes from this one, found and ended whatever became of its parents."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GONE_S = 20.0
LEASH = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); "
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents end, so that none can get away."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def on_leash(argv: list[str]) -> list[str]:
    """Return the command line that gets SIGTERM when this process dies, even of SIGKILL."""
    return [sys.executable, "-c", LEASH, str(os.getpid()), *argv]


def titled(title: str) -> list[psutil.Process]:
    """Return the descendants whose command line starts so; Ray workers carry their class."""
    found = []

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)

    return found


def end_all() -> None:
    """Kill every descendant until there is none, and reap them."""
    deadline = time.monotonic() + GONE_S

    while time.monotonic() < deadline:
        living = [one for one in psutil.Process().children(recursive=True) if is_alive(one)]

        for process in living:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

        reap()

        if not living:
            return

        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)

    return False


def reap() -> None:
    """Collect the children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
