"""What a node lets us see: every means is tried for real (stdlib only, sent by value).

The same function answers in the doctor's own process for its own node and in an actor on
every other. Nothing is changed, and no process is stopped.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import Any

from dsray_inspect.agent.compat.ray import (
    NODE_ID_FLAG,
    PROCESS_TITLE,
    RAYLET_PROGRAM,
    SERVICE_TITLES,
    WORKER_CLASS,
)
from dsray_inspect.agent.remote.confinement import confinement
from dsray_inspect.agent.remote.environ import EnvironUnreadable, environ_block, live_environ
from dsray_inspect.agent.remote.gpus import read_gpus
from dsray_inspect.agent.remote.pyspy import dump, find_pyspy, has_file_capabilities
from dsray_inspect.agent.remote.rights import command_line, credentials, denial, status_of
from dsray_inspect.agent.remote.threads import scheduled_at_ms
from dsray_inspect.agent.remote.unavailable import unavailable

_OK = "ok"
_TRAINING = (f"{PROCESS_TITLE}{WORKER_CLASS}",)
_TARGETS = 3
_FEW_BYTES = 8
_DUMP = {"native": False, "locals": False, "subprocesses": False}


class Examiner:
    """The doctor's actor on a node; it ends with the process that started it."""

    def check(self, request: dict[str, Any]) -> dict[str, Any]:
        return check(request)


def hello(_actor: Any, _request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Answer a call by a forged handle: that it arrives is all that is asked."""
    return {"pid": os.getpid()}


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Try on this node what attaching would need.

    `request`: `until` (Unix seconds), `node_id` (whose raylet to look for), `here` (whether
    this is the attaching process itself) and `timeout_s` for py-spy.
    """
    if time.time() > request["until"]:
        return {"late": True}

    raylet = find_raylet(request["node_id"])
    gpus, failure = read_gpus()
    found: dict[str, Any] = {
        "hostname": socket.gethostname(),
        "python": sys.executable,
        "me": credentials(os.getpid()),
        "raylet": credentials(raylet) if raylet else None,
        "gpus": len(gpus),
        "gpu_why": failure["detail"] if failure else _OK,
        "lacks_nvml": failure is not None and failure["reason"] == "not_installed",
        **confinement(),
        **pyspy(find_pyspy()),
    }
    targets = _candidates(raylet) if raylet else []
    # py-spy is our child, and we are not its: for Yama we are as foreign to it as a worker.
    targets += [] if request["here"] else [os.getpid()]
    found.update(attempts(targets[:_TARGETS], found["pyspy"], request["timeout_s"]))
    return found


def attempts(pids: list[int], program: str | None, timeout_s: float) -> dict[str, Any]:
    """Try every means on the first process that is still there when all were tried."""
    unseen = "no process of Ray's workers can be seen from here"
    answer: dict[str, Any] = {
        "target": None,
        "is_denied": False,
        **dict.fromkeys(("stacks", "memory", "environ", "environ_at_exec", "sched"), unseen),
    }

    for pid in pids:
        target = credentials(pid)
        failures = {
            "stacks": stacks(pid, program, timeout_s),
            "memory": memory(pid),
            "environ": environ(pid),
        }
        denied = failures["stacks"]

        # Nobody is denied the memory of himself, and py-spy is somebody else.
        if pid == os.getpid() and denied is not None and denied["reason"] == "no_ptrace":
            failures.update(memory=denied, environ=denied)

        answer = {
            "target": target,
            "is_denied": any(
                failure["reason"] == "no_ptrace" for failure in failures.values() if failure
            ),
            "environ_at_exec": environ_at_exec(pid),
            "sched": sched(pid),
            **{name: why["detail"] if why else _OK for name, why in failures.items()},
        }

        if target is not None and os.path.exists(f"/proc/{pid}"):
            break

    return answer


def stacks(pid: int, program: str | None, timeout_s: float) -> dict[str, Any] | None:
    """Return why py-spy cannot read a process, None where it can."""
    if program is None:
        return unavailable("not_installed", "py-spy is not installed on this node")

    answer = dump(program, pid, {**_DUMP, "timeout_s": timeout_s})
    return None if "json" in answer else answer


def memory(pid: int) -> dict[str, Any] | None:
    """Return why the memory of a process cannot be read, None where it can."""
    try:
        with open(f"/proc/{pid}/maps") as lines:
            address = int(next(lines).partition("-")[0], 16)

        with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
            file.seek(address)
            file.read(_FEW_BYTES)
    except PermissionError:
        return unavailable("no_ptrace", denial(pid))
    except (OSError, ValueError, StopIteration) as error:
        return unavailable("failed", f"its memory does not read as expected: {error}")

    return None


def environ_at_exec(pid: int) -> str:
    """Return "ok" where the variables a process was started with can be read, else why not.

    That needs less than its memory: Yama does not restrict it.
    """
    readable = environ_block(f"/proc/{pid}/environ") is not None
    return _OK if readable else f"/proc/{pid}/environ cannot be read"


def environ(pid: int) -> dict[str, Any] | None:
    """Return why the live environment of a process cannot be read, None where it can."""
    try:
        live_environ(pid)
    except EnvironUnreadable as error:
        return unavailable(error.reason, str(error))

    return None


def sched(pid: int) -> str:
    path = f"/proc/{pid}/task/{pid}/sched"
    return _OK if scheduled_at_ms(path) is not None else f"{path} cannot be read"


def find_raylet(node_id: str) -> int | None:
    """Return the pid of a node's raylet, None where it cannot be seen."""
    wanted = f"{NODE_ID_FLAG}={node_id}".encode()

    for pid in pids():
        arguments = command_line(pid)

        if arguments[0].endswith(RAYLET_PROGRAM.encode()) and wanted in arguments:
            return pid

    return None


def _candidates(raylet: int) -> list[int]:
    """Return the raylet's Python workers, those that train first, Ray's own services last."""
    titles: dict[int, str] = {}

    for pid in pids():
        arguments = command_line(pid)

        if arguments[0].startswith(PROCESS_TITLE.encode()) and _parent_of(pid) == raylet:
            titles[pid] = arguments[0].decode("utf-8", "replace")

    titles.pop(os.getpid(), None)
    return sorted(
        titles,
        key=lambda pid: (
            not titles[pid].startswith(_TRAINING),
            titles[pid].startswith(SERVICE_TITLES),
        ),
    )


def pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _parent_of(pid: int) -> int | None:
    parent = status_of(pid).get("PPid", "")
    return int(parent) if parent.isdigit() else None


def pyspy(program: str | None) -> dict[str, Any]:
    """Return where py-spy is, which version it says it has, and whether `setcap` was run on it."""
    if program is None:
        return {"pyspy": None, "pyspy_version": None}

    has_capabilities = has_file_capabilities(program)

    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
        version = done.stdout.strip().rpartition(" ")[2] or None
    except (OSError, subprocess.TimeoutExpired):
        version = None

    return {
        "pyspy": program,
        "pyspy_version": version,
        "pyspy_has_file_capabilities": has_capabilities,
    }
