"""The ranks of torch.distributed on a machine, found from its processes (stdlib only).

A launcher sets a rank's variables before it starts the process, or the program sets them itself.
Only a process that has libtorch mapped can be a rank; the live variables of each are read.
"""

from __future__ import annotations

import os
from typing import Any

from dsray_inspect.agent.remote.environ import EnvironUnreadable, environ_block, live_environ
from dsray_inspect.agent.remote.process_secrets import exec_secrets
from dsray_inspect.agent.remote.redaction import redact_argv

LIBRARY = "libtorch_cpu.so"
_ANCESTORS = 16


def rank_processes() -> dict[str, Any]:
    """Return `processes`, those that may be ranks, and how many were `hidden` from us.

    Each has its pid, start (Unix seconds), variables and ancestors (nearest first, as dicts of pid,
    command and variables). Variables are not redacted: they stay in the process that called this.
    """
    boot = _boot_time_s()
    found, hidden = [], 0

    for pid in _pids():
        maps = _maps(pid)

        if maps is None:
            hidden += 1
        elif LIBRARY in maps:
            found.append(_described(pid, boot))

    return {"processes": [each for each in found if each is not None], "hidden": hidden}


def command_of(pid: int) -> str:
    """Return a process's command line without secrets, "" for one that is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            argv = file.read().decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return ""

    try:
        known = exec_secrets(pid)
    except EnvironUnreadable:
        return argv[0]

    return redact_argv(argv, known)


def _described(pid: int, boot_s: float) -> dict[str, Any] | None:
    parent, started_s = _parent_and_start(pid)

    if started_s is None:
        return None

    return {
        "pid": pid,
        "started_at": boot_s + started_s,
        "command": command_of(pid),
        "variables": _variables(pid),
        "ancestors": [_ancestor(each) for each in _ancestors(parent)],
    }


def _variables(pid: int) -> dict[str, str]:
    try:
        return live_environ(pid)
    except EnvironUnreadable:
        return environ_block(f"/proc/{pid}/environ") or {}


def _ancestor(pid: int) -> dict[str, Any]:
    return {
        "pid": pid,
        "command": command_of(pid),
        "variables": environ_block(f"/proc/{pid}/environ") or {},
        "started_at": _boot_time_s() + (_parent_and_start(pid)[1] or 0.0),
    }


def _ancestors(pid: int) -> list[int]:
    found: list[int] = []

    while pid > 1 and len(found) < _ANCESTORS:
        found.append(pid)
        pid, _ = _parent_and_start(pid)

    return found


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _maps(pid: int) -> str | None:
    """Return what a process has mapped, "" for a kernel thread, None where it is not ours to see."""
    try:
        with open(f"/proc/{pid}/maps") as file:
            return file.read()
    except PermissionError:
        return None
    except OSError:
        return ""


def _parent_and_start(pid: int) -> tuple[int, float | None]:
    """Return the parent's pid and the start in seconds after boot; (0, None) for one that is gone.

    Fields 4 and 22 of `/proc/PID/stat` (proc_pid_stat(5)).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0, None

    return int(fields[1]), int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _boot_time_s() -> float:
    with open("/proc/stat") as file:
        return next(float(line.split()[1]) for line in file if line.startswith("btime "))
