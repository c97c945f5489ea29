"""What a node lets us see: every means is tried for real (stdlib only, sent by value).

The same function answers in the doctor's own process for its own node and in an actor on
every other. Nothing is changed, and no process is stopped.
"""

from __future__ import annotations

import os
import shutil
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
from dsray_inspect.agent.remote.environ import EnvironUnreadable, live_environ
from dsray_inspect.agent.remote.gpus import read_gpus
from dsray_inspect.agent.remote.pyspy import dump, find_pyspy
from dsray_inspect.agent.remote.threads import scheduled_at_ms
from dsray_inspect.agent.remote.unavailable import unavailable

_OK = "ok"
_TRAINING = (f"{PROCESS_TITLE}{WORKER_CLASS}",)
_TARGETS = 3
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
        "container": container(),
        "me": _describe(os.getpid()),
        "yama": _read_number("/proc/sys/kernel/yama/ptrace_scope"),
        "hidepid": hidepid(),
        "raylet": _describe(raylet) if raylet else None,
        "gpus": len(gpus),
        "gpu_why": failure["detail"] if failure else _OK,
        "lacks_nvml": failure is not None and failure["reason"] == "not_installed",
    }
    found.update(pyspy(find_pyspy()))
    targets = _candidates(raylet) if raylet else []
    # py-spy is our child, and we are not its: for Yama we are as foreign to it as a worker.
    targets += [] if request["here"] else [os.getpid()]
    found.update(attempts(targets[:_TARGETS], found["pyspy"], request["timeout_s"]))
    return found


def attempts(pids: list[int], program: str | None, timeout_s: float) -> dict[str, Any]:
    """Try every means on the first process that is still there when all were tried."""
    answer: dict[str, Any] = {
        "target": None,
        "stacks": "no process of Ray's workers can be seen from here",
        "environ": "no process of Ray's workers can be seen from here",
        "is_denied": False,
        "sched": "no process of Ray's workers can be seen from here",
    }

    for pid in pids:
        target = _describe(pid)
        failures = (stacks(pid, program, timeout_s), environ(pid))
        answer = {
            "target": target,
            "stacks": failures[0]["detail"] if failures[0] else _OK,
            "environ": failures[1]["detail"] if failures[1] else _OK,
            "is_denied": any(
                failure is not None and failure["reason"] == "no_ptrace" for failure in failures
            ),
            "sched": sched(pid),
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
        arguments = _command_line(pid)

        if arguments and arguments[0].endswith(RAYLET_PROGRAM.encode()) and wanted in arguments:
            return pid

    return None


def _candidates(raylet: int) -> list[int]:
    """Return the raylet's Python workers, those that train first, Ray's own services last."""
    titles: dict[int, str] = {}

    for pid in pids():
        arguments = _command_line(pid)

        if (
            arguments
            and arguments[0].startswith(PROCESS_TITLE.encode())
            and _parent_of(pid) == raylet
        ):
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


def _command_line(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _parent_of(pid: int) -> int | None:
    parent = _status(pid).get("PPid", "")
    return int(parent) if parent.isdigit() else None


def _status(pid: int) -> dict[str, str]:
    """Return `/proc/PID/status` as a dict, empty for a process that is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            pairs = (line.partition(":") for line in file)
            return {name: value.strip() for name, _, value in pairs}
    except OSError:
        return {}


def _describe(pid: int) -> dict[str, Any] | None:
    """Return what the kernel compares when one process wants to read another."""
    facts = _status(pid)

    if not facts:
        return None

    return {
        "pid": pid,
        "title": _command_line(pid)[0].decode("utf-8", "replace")[:80],
        "uid": int(facts.get("Uid", "0").split()[1]),
        "cap_effective": int(facts.get("CapEff", "0"), 16),
        "cap_permitted": int(facts.get("CapPrm", "0"), 16),
        "cap_bounding": int(facts.get("CapBnd", "0"), 16),
        "no_new_privs": facts.get("NoNewPrivs") == "1",
        "seccomp": int(facts.get("Seccomp", "0")),
        "user_namespace": _link(f"/proc/{pid}/ns/user"),
    }


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _read_number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def hidepid() -> str:
    """Return the `hidepid` that /proc is mounted with, "" for none."""
    try:
        with open("/proc/self/mounts") as lines:
            mounts = [line.split() for line in lines]
    except OSError:
        return ""

    options = [fields[3] for fields in mounts if fields[1] == "/proc"]
    words = options[-1].split(",") if options else []
    hidden = [word.partition("=")[2] for word in words if word.startswith("hidepid=")]
    return "" if hidden in ([], ["0"], ["off"]) else hidden[0]


def container() -> str:
    """Return "kubernetes", "container" or "": it decides which fix can be pasted."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"

    marks = ("/.dockerenv", "/run/.containerenv")
    return "container" if any(os.path.exists(path) for path in marks) else ""


def pyspy(program: str | None) -> dict[str, Any]:
    """Return where py-spy is and which version it says it has."""
    if program is None:
        return {"pyspy": None, "pyspy_version": None}

    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {"pyspy": shutil.which(program) or program, "pyspy_version": None}

    return {"pyspy": program, "pyspy_version": done.stdout.strip().rpartition(" ")[2] or None}
