"""The file locks that a process waits for in the kernel, and who holds them (stdlib only, sent by value)."""

from __future__ import annotations

import os
import re
from typing import Any

from dsray_inspect.agent.remote.threads import program_of, start_of

MAX_BYTES = 1 << 20
MAX_FILES = 4096
LOCK = re.compile(
    r"^(\d+): (-> )?(FLOCK|POSIX|OFDLCK)\s+\S+\s+\S+ (-?\d+) [0-9a-f]+:[0-9a-f]+:(\d+) ", re.M
)


def awaited_file_locks(pid: int) -> list[dict[str, Any]]:
    """Return kind, path and holder of each lock that a process is blocked on.

    The holder is 0 where the kernel does not say, in another pid namespace for one.
    """
    text = _locks()
    rows = [found.groups() for found in LOCK.finditer(text)] if "->" in text else []
    holders = {number: int(holder) for number, waits, _, holder, _ in rows if not waits}
    return [
        {
            "kind": kind.lower(),
            "path": _path_of(pid, inode),
            "holder": max(0, holders.get(number, 0)),
            "holder_name": program_of(holders[number]) if holders.get(number, 0) > 0 else "",
        }
        for number, waits, kind, waiter, inode in rows
        if waits and int(waiter) == pid
    ]


def _locks() -> str:
    try:
        with open("/proc/locks", "rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _path_of(pid: int, inode: str) -> str | None:
    """Return the path of an open file by its inode; `stat` could hang on a dead file server."""
    try:
        files = os.listdir(f"/proc/{pid}/fd")[:MAX_FILES]
    except OSError:
        return None

    for number in files:
        if re.search(
            rb"^ino:\s*%s$" % inode.encode(), start_of(f"/proc/{pid}/fdinfo/{number}"), re.M
        ):
            try:
                return os.readlink(f"/proc/{pid}/fd/{number}")
            except OSError:
                return None

    return None
