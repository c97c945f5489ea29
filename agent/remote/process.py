"""What /proc says of a process of this node (stdlib only, sent by value)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from dsray_inspect.agent.remote.activity_counters import activity_counters
from dsray_inspect.agent.remote.environ import EnvironUnreadable
from dsray_inspect.agent.remote.process_secrets import exec_secrets
from dsray_inspect.agent.remote.redaction import redact_argv, redacted_words
from dsray_inspect.agent.remote.sockets import Tables, traffic
from dsray_inspect.agent.remote.threads import cpu_times, scheduled_at_ms

_STATES = {"T": "stopped", "t": "stopped", "Z": "dead", "X": "dead"}
_MAX_THREADS = 512
_MAX_CHILDREN = 64


def probe(pid: int, tables: Tables, *, threads: bool, counters: bool) -> dict[str, Any]:
    """Return state, resident memory and command of a process.

    `threads` adds what is read thread by thread, its children too: a process that answers for
    itself tells these cheaper. `counters` adds what it has done so far.
    """
    try:
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read()
    except (OSError, ValueError):
        return {"state": "gone"}

    letter = status.get("State", "?").strip()[:1]
    return {
        "state": _STATES.get(letter, "alive"),
        "rss_bytes": _kilobytes(status.get("VmRSS", "")),
        "command": shown_command(pid, command),
        **({"idle_s": _idle_times(pid), "cpu_times_s": _thread_times(pid)} if threads else {}),
        **(
            {"counters": activity_counters(pid, traffic(pid, tables), threads=threads)}
            if counters
            else {}
        ),
    }


def shown_command(pid: int, command: bytes) -> str:
    """Return a command line without secrets; only the program where these are not known."""
    return redact_argv(*_argv_and_secrets(pid, command))[:200]


def shown_argv(pid: int, command: bytes) -> list[str]:
    """Return the words of a command line without secrets, all of them where these are known."""
    return redacted_words(*_argv_and_secrets(pid, command))


def _argv_and_secrets(pid: int, command: bytes) -> tuple[list[str], Sequence[str]]:
    argv = command.decode("utf-8", "replace").rstrip("\0 ").split("\0")

    # Not for a title that Ray gave the process: it has no arguments.
    try:
        return argv, () if argv[0].startswith("ray::") else exec_secrets(pid)
    except EnvironUnreadable:
        return argv[:1], ()


def _kilobytes(text: str) -> int | None:
    found = re.match(r"\s*(\d+) kB", text)
    return int(found.group(1)) * 1024 if found else None


def _idle_times(pid: int) -> dict[int, float]:
    """Return the seconds since each thread last ran, by thread id."""
    now_ms = scheduled_at_ms("/proc/thread-self/sched")
    idle: dict[int, float] = {}

    if now_ms is None:
        return idle

    try:
        tids = os.listdir(f"/proc/{pid}/task")[:_MAX_THREADS]
    except OSError:
        return idle

    for tid in tids:
        last_ms = scheduled_at_ms(f"/proc/{pid}/task/{tid}/sched")

        if last_ms is not None:
            idle[int(tid)] = max(0.0, (now_ms - last_ms) / 1000)

    return idle


def _thread_times(pid: int) -> dict[int, tuple[float | None, float | None]]:
    """Return the seconds that each thread has run and has queued for a CPU, by thread id."""
    try:
        tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")[:_MAX_THREADS]]
    except OSError:
        return {}

    return {tid: cpu_times(pid, tid) for tid in tids}


def descendants(pids: list[int]) -> dict[int, list[int]]:
    """Return the processes below each of `pids`, children first."""
    children: dict[int, list[int]] = {}

    for entry in os.listdir("/proc"):
        if entry.isdigit():
            children.setdefault(_parent_of(int(entry)), []).append(int(entry))

    found: dict[int, list[int]] = {}

    for pid in pids:
        below = sorted(children.get(pid, ()))

        for child in below:
            below.extend(sorted(children.get(child, ())))

            if len(below) > _MAX_CHILDREN:
                break

        found[pid] = below[:_MAX_CHILDREN]

    return found


def _parent_of(pid: int) -> int:
    """Return the parent's pid, 0 when the process is gone. The name may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
