"""Stacks by a signal, of a process that was submitted to answer one (stdlib only).

`faulthandler` writes them from its C handler: without the GIL, without ptrace, and without the
process's help. It knows no names of threads; those that Ray Train has are known by their frames.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from dsray_inspect.agent.compat.ray import V2_THREAD_TARGET, V2_TRAINING_THREAD
from dsray_inspect.agent.remote.startup_record import FOLDERS, PREFIX, start_record, start_ticks
from dsray_inspect.agent.remote.unavailable import unavailable

_ANSWER_S = 1.0
_QUIET_S = 0.05
"""A dump is whole when it has not grown for so long: its end is not marked."""
_POLL_S = 0.005
_MAX_BYTES = 1024 * 1024
_THREAD = re.compile(r"^(?:Current thread|Thread) 0x([0-9a-f]+)")
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')


def dump(pid: int) -> dict[str, Any] | None:
    """Return a dump as py-spy's JSON with `rung4`, or why there is none; None where nothing was prepared."""
    record = start_record(pid)

    if record is None:
        return None

    try:
        number = json.loads(record.partition("\n")[0]).get("signal")
        return _ask(pid, int(number)) if number is not None else None
    except (OSError, ValueError) as error:
        return unavailable("failed", f"its faulthandler gave no stacks: {error}"[:200])


def _ask(pid: int, number: int) -> dict[str, Any]:
    """Send the signal that a process catches; one that does not catch it would end by it."""
    if not _catches(pid, number):
        return unavailable("failed", f"it does not catch signal {number} any more")

    path = next(path for path in _paths(pid) if os.path.exists(path))
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)

    try:
        before = os.fstat(file).st_size

        if os.fstat(file).st_uid != os.stat(f"/proc/{pid}").st_uid:
            return unavailable("failed", f"{path} is another user's")

        os.kill(pid, number)
        text = _grown(file, before)
        os.ftruncate(file, 0)
    finally:
        os.close(file)

    if not text:
        return unavailable("timeout", f"its faulthandler gave no stacks in {_ANSWER_S:.0f} s")

    return {"json": json.dumps(_threads_of(text, pid)).encode(), "rung4": True, "pause_ms": 0.0}


def _paths(pid: int) -> list[str]:
    ticks = start_ticks(pid)
    return [f"{folder}/{PREFIX}-{pid}-{ticks}-stacks" for folder in FOLDERS]


def _catches(pid: int, number: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        mask = next(line.split()[1] for line in status if line.startswith("SigCgt:"))

    return bool(int(mask, 16) >> (number - 1) & 1)


def _grown(file: int, before: int) -> str:
    """Return what is written to a file from now on, until it stands still."""
    deadline = time.monotonic() + _ANSWER_S
    size, since = before, time.monotonic()

    while time.monotonic() < deadline:
        now = os.fstat(file).st_size

        if now != size:
            size, since = now, time.monotonic()
        elif size > before and time.monotonic() - since > _QUIET_S:
            break

        time.sleep(_POLL_S)

    return os.pread(file, min(size - before, _MAX_BYTES), before).decode(errors="replace")


def _threads_of(text: str, pid: int) -> list[dict[str, Any]]:
    """Return faulthandler's text in the form of py-spy's JSON, innermost frame first."""
    threads: list[dict[str, Any]] = []

    for line in text.splitlines():
        frame = _FRAME.match(line)

        if _THREAD.match(line):
            threads.append({"pid": pid, "thread_name": "", "os_thread_id": None, "frames": []})
        elif frame is not None and threads:
            file, number, name = frame.groups()
            threads[-1]["frames"].append({"name": name, "filename": file, "line": int(number)})

    for thread in threads:
        thread["thread_name"] = _name_of(thread["frames"])

    return threads


def _name_of(frames: list[dict[str, Any]]) -> str:
    """Return what Ray Train calls a thread, by the functions that it begins with."""
    files = [frame["filename"] for frame in frames]
    names = [frame["name"] for frame in frames]

    if names[-1:] == ["<module>"]:
        return "MainThread"

    if any(file.endswith(V2_THREAD_TARGET[1]) for file in files) and V2_THREAD_TARGET[0] in names:
        return f"{V2_TRAINING_THREAD}faulthandler)"

    return "MonitoringThread" if "_monitor_target" in names else ""
