"""What a process has done so far, for two looks to be compared by (stdlib only, sent by value).

Reads of /proc that take well under a millisecond each; whatever cannot be read is left out.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from typing import Any

from dsray_inspect.agent.onsite.gil import give_way
from dsray_inspect.agent.onsite.limits import memory_limits
from dsray_inspect.agent.onsite.threads import start_of

MAX_TASKS = 512
MAX_CHILDREN = 32
GENERATIONS = 4
SYN_SENT = "02"
HEX_V4 = 8
Tables = dict[str, dict[str, str]]
"""By network namespace: the remote address of each connection without an answer, by its inode."""


def progress(pid: int, tables: Tables | None = None) -> dict[str, Any]:
    """Return CPU seconds, bytes moved, children, who traces it, what it dials, and its memory.

    `tables` is shared by the processes of one look: the kernel takes 10 ms for a namespace's.
    """
    status = start_of(f"/proc/{pid}/status")
    give_way()
    return {
        "cpu_s": cpu_s(pid),
        "moved_bytes": moved_bytes(pid),
        "tracer": number(status, rb"TracerPid:\s*(\d+)"),
        "disk_wait": any(letter == "D" for letter in task_states(pid)),
        "children": children(pid),
        "dials": dialled(pid, {} if tables is None else tables),
        "memory": memory_limits(pid),
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


def moved_bytes(pid: int) -> int:
    """Return what a process has read and written by system calls, files and sockets alike."""
    text = start_of(f"/proc/{pid}/io")
    return number(text, rb"rchar: (\d+)") + number(text, rb"wchar: (\d+)")


def tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")[:MAX_TASKS]
    except OSError:
        return []


def task_states(pid: int) -> list[str]:
    fields = (stat_of(f"/proc/{pid}/task/{tid}/stat") for tid in tasks(pid))
    return [one[0].decode() for one in fields if one]


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
            name = start_of(f"/proc/{child}/comm").decode("utf-8", "replace").strip()

            if fields:
                found.append(
                    {
                        "pid": child,
                        "name": name,
                        "state": fields[0].decode(),
                        "cpu_s": cpu_s(child),
                    }
                )

        give_way()

    return found


def children_of(pid: int) -> list[int]:
    texts = (start_of(f"/proc/{pid}/task/{tid}/children") for tid in tasks(pid))
    return [int(child) for text in texts for child in text.split()]


def dialled(pid: int, tables: Tables) -> list[str]:
    """Return the addresses that this process's connections wait for an answer from."""
    try:
        namespace = os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        namespace = f"that of {pid}"

    if namespace not in tables:
        tables[namespace] = unanswered(pid)

    waiting = tables[namespace]

    if not waiting:
        return []

    own = set(sockets(pid))
    return sorted({address(raw) for inode, raw in waiting.items() if inode in own})


def unanswered(pid: int) -> dict[str, str]:
    """Return the connections in a process's network namespace that wait for their first answer."""
    waiting: dict[str, str] = {}

    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{name}") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue

        waiting.update({row[9]: row[2] for row in rows if len(row) > 9 and row[3] == SYN_SENT})

    return waiting


def sockets(pid: int) -> list[str]:
    """Return the inodes of a process's sockets."""
    found = []

    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []

    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue

        if target.startswith("socket:["):
            found.append(target[8:-1])

    return found


def address(raw: str) -> str:
    """Return "10.0.0.1:29500" for the kernel's "0100000A:733C"."""
    host, _, port = raw.partition(":")
    words = [int(host[start : start + 8], 16) for start in range(0, len(host), 8)]
    packed = struct.pack(f"={len(words)}I", *words)

    if len(host) == HEX_V4:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{int(port, 16)}"

    text = socket.inet_ntop(socket.AF_INET6, packed)
    return f"{text.removeprefix('::ffff:')}:{int(port, 16)}"
