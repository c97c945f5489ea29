"""The processes of a machine that have torch loaded, and who started each (stdlib only)."""

from __future__ import annotations

import os
from typing import Any

from dsray_inspect.agent.remote.environ import (
    EnvironUnreadable,
    environ_block,
    launcher_of,
    live_environ,
    parent_of,
)
from dsray_inspect.agent.remote.process import shown_argv, shown_command
from dsray_inspect.agent.remote.recorder_layout import LIBRARY
from dsray_inspect.agent.remote.startup_record import started_at

_MAX_ANCESTORS = 32


def torch_processes() -> dict[str, Any]:
    """Return `processes`, and the number of those that are `hidden` from us.

    Each has its pid, start (Unix seconds), command and its words, live variables, the pids of its ancestors,
    nearest first, and its launcher, if that is still there. Variables are not redacted: they stay
    in the process that called this.
    """
    launchers: dict[str, dict[str, Any] | None] = {}
    found, hidden = [], 0

    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        maps = _maps(pid)

        if maps is None:
            hidden += 1
        elif LIBRARY in maps:
            described = _described(pid)

            if described is not None:
                launcher = launcher_of(str(pid), environ_block(f"/proc/{pid}/environ") or {})
                launchers.setdefault(launcher, _described(int(launcher)))
                found.append(
                    {
                        **described,
                        "argv": _argv(pid),
                        "variables": _variables(pid),
                        "ancestors": _ancestors(pid),
                        "launcher": launchers[launcher],
                    }
                )

    return {"processes": found, "hidden": hidden}


def places_of(pids: list[int], names: list[str]) -> dict[int, dict[str, str]]:
    """Return these live variables of each process that has torch loaded.

    A process whose parent has the same values has only inherited them: whoever started Ray was a
    rank itself, or a task of Slurm.
    """
    found: dict[int, dict[str, str]] = {}
    above: dict[str, dict[str, str]] = {}

    for pid in pids:
        if LIBRARY not in (_maps(pid) or ""):
            continue

        parent = parent_of(str(pid))

        if parent not in above:
            above[parent] = environ_block(f"/proc/{parent}/environ") or {}

        live = _variables(pid)
        place = {name: live[name] for name in names if name in live}

        if any(above[parent].get(name) != value for name, value in place.items()):
            found[pid] = place

    return found


def is_running(pid: int, started: float) -> bool:
    """Return whether a process is still the one that began then, give or take a second."""
    try:
        return abs(started_at(pid) - started) < 1.0
    except (OSError, ValueError):
        return False


def _described(pid: int) -> dict[str, Any] | None:
    """Return pid, start and command of a process, None for one that is gone."""
    try:
        return {"pid": pid, "started_at": started_at(pid), "command": _command(pid)}
    except (OSError, ValueError):
        return None


def _command(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return shown_command(pid, file.read())


def _argv(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return shown_argv(pid, file.read())
    except OSError:
        return []


def _variables(pid: int) -> dict[str, str]:
    try:
        return live_environ(pid)
    except EnvironUnreadable:
        return environ_block(f"/proc/{pid}/environ") or {}


def _ancestors(pid: int) -> list[int]:
    found: list[int] = []
    above = int(parent_of(str(pid)))

    while above > 1 and len(found) < _MAX_ANCESTORS:
        found.append(above)
        above = int(parent_of(str(above)))

    return found


def _maps(pid: int) -> str | None:
    """Return what a process has mapped, "" for one that is gone, None where it is not ours to see."""
    try:
        with open(f"/proc/{pid}/maps") as file:
            return file.read()
    except PermissionError:
        return None
    except OSError:
        return ""
