"""The file in which a process of a job that we submitted records its start (stdlib only).

Its name and form are those of `agent.probes.startup`, which writes it.
"""

from __future__ import annotations

import json
import os
import time

FOLDERS = ("/dev/shm", "/tmp")
PREFIX = "dsray-start"
_MAX_BYTES = 64 * 1024


def start_ticks(pid: int | str) -> int:
    """Return when a process began, in ticks since boot: with its pid it names it for good."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[19])


def started_at(pid: int | str) -> float:
    """Return when a process began, as Unix seconds."""
    since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - since_boot_s + start_ticks(pid) / os.sysconf("SC_CLK_TCK")


def start_record(pid: int) -> str | None:
    """Return the text of a process's record, None where it writes none.

    A file that is not of the process's own user is somebody else's, and not read.
    """
    try:
        ticks, owner = start_ticks(pid), os.stat(f"/proc/{pid}").st_uid
    except (OSError, ValueError):
        return None

    for folder in FOLDERS:
        try:
            path = f"{folder}/{PREFIX}-{pid}-{ticks}"
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue

        try:
            if os.fstat(file).st_uid == owner:
                return os.read(file, _MAX_BYTES).decode(errors="replace")
        finally:
            os.close(file)

    return None


def identity_of(record: str) -> dict[str, str]:
    """Return the variables by which a record's first line names the process's rank."""
    try:
        return dict(json.loads(record.partition("\n")[0]).get("identity") or {})
    except (ValueError, AttributeError):
        return {}
