"""What a process has done so far, for two samples to be compared by (stdlib only, sent by value).

Reads of /proc that take well under a millisecond each; whatever cannot be read is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from dsray_inspect.agent.remote.blocked_calls import blocked_calls
from dsray_inspect.agent.remote.file_locks import awaited_file_locks
from dsray_inspect.agent.remote.gil import yield_gil
from dsray_inspect.agent.remote.limits import memory_limits
from dsray_inspect.agent.remote.sockets import Traffic
from dsray_inspect.agent.remote.threads import program_of, start_of

MAX_TASKS = 512
MAX_CHILDREN = 32
GENERATIONS = 4


def activity_counters(
    pid: int, network: Traffic, *, threads: bool = True, tids: Iterable[int] | None = None
) -> dict[str, Any]:
    """Return CPU seconds, bytes moved, children, who traces it, and what it dials; its memory, and
    the file locks, pipes and sockets that it waits for.

    `network` is what `remote.sockets` tells of the process. Each thread has children of its own and
    is in a call of its own: without `threads` none are looked for. Of the calls those of `tids`
    count, if given.
    """
    status = start_of(f"/proc/{pid}/status")
    yield_gil()
    dials, network_bytes = network
    return {
        "cpu_s": cpu_s(pid),
        "moved_bytes": file_bytes(pid) + network_bytes,
        "tracer": number(status, rb"TracerPid:\s*(\d+)"),
        "children": children(pid) if threads else [],
        "dials": dials,
        "memory": memory_limits(pid) or None,
        "file_locks": awaited_file_locks(pid),
        "blocked_calls": blocked_calls(pid, map(int, tasks(pid)) if tids is None else tids)
        if threads
        else [],
    }


def number(text: bytes, pattern: bytes) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def stat_of(path: str) -> list[bytes]:
    """Return the fields of a stat file after the command: state, parent and so on."""
    return start_of(path).rpartition(b")")[2].split()


def cpu_s(pid: int) -> float:
    fields = stat_of(f"/proc/{pid}/stat")
    ticks = int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def file_bytes(pid: int) -> int:
    """Return what a process has read and written; recv(2) and send(2) are not in it."""
    text = start_of(f"/proc/{pid}/io")
    return number(text, rb"rchar: (\d+)") + number(text, rb"wchar: (\d+)")


def tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")[:MAX_TASKS]
    except OSError:
        return []


def children(pid: int) -> list[dict[str, Any]]:
    """Return the processes below this one: pid, name, state, CPU seconds."""
    found: list[dict[str, Any]] = []
    parents = [pid]

    for _ in range(GENERATIONS):
        parents = [child for parent in parents for child in children_of(parent)]

        if not parents:
            break

        for child in parents[: MAX_CHILDREN - len(found)]:
            fields = stat_of(f"/proc/{child}/stat")
            name = program_of(child)

            if fields:
                found.append(
                    {
                        "pid": child,
                        "name": name,
                        "state": fields[0].decode(),
                        "cpu_s": cpu_s(child),
                    }
                )

        yield_gil()

    return found


def children_of(pid: int) -> list[int]:
    texts = (start_of(f"/proc/{pid}/task/{tid}/children") for tid in tasks(pid))
    return [int(child) for text in texts for child in text.split()]
