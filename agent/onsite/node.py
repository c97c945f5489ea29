"""What rung 3 reads on a node from outside the workers (stdlib only, sent by value).

The same function answers in the attaching process for its own node and in the node agent
(an actor) for every other.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from typing import Any

from dsray_inspect.agent.onsite.environ import (
    EnvironUnreadable,
    compare_environ,
    live_environ,
)
from dsray_inspect.agent.onsite.gpus import read_gpus
from dsray_inspect.agent.onsite.pyspy import dump_all
from dsray_inspect.agent.onsite.redaction import redact_pair, redact_text
from dsray_inspect.agent.onsite.threads import scheduled_at_ms

STATES = {"T": "stopped", "t": "stopped", "Z": "dead", "X": "dead"}
MAX_THREADS = 512


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Read processes and GPUs of this node.

    `request`: `until` (Unix seconds), `pids`, `stacks` and `environs` (lists of pids),
    `gpus` (bool), `native`, `locals`, `subprocesses` (bool) and `timeout_s` for py-spy.
    """
    if time.time() > request["until"]:
        return {"late": True}

    # First: py-spy's pauses make the kernel run each thread, which resets its idle time.
    processes = {pid: process(pid) for pid in request["pids"]}
    dumps = dump_all(request["stacks"], request)

    for pid, answer in dumps.items():
        if "json" in answer:
            answer["json"] = redact_locals(answer["json"]) if request["locals"] else answer["json"]

        processes.setdefault(pid, {})["dump"] = answer

    for pid in request["environs"]:
        processes.setdefault(pid, {}).update(environment(pid))

    gpus, why = read_gpus() if request["gpus"] else ([], "not asked")
    return {
        "hostname": socket.gethostname(),
        "processes": processes,
        "gpus": gpus,
        "gpu_why": why,
    }


def process(pid: int) -> dict[str, Any]:
    """Return state, resident memory, command and the threads' idle times of a process."""
    try:
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return {"gone": True}

    letter = status.get("State", "?").strip()[:1]
    return {
        "state": STATES.get(letter, "alive"),
        "rss_bytes": kilobytes(status.get("VmRSS", "")),
        "command": redact_text(command)[:200],
        "idle_s": idle_times(pid),
    }


def kilobytes(text: str) -> int | None:
    found = re.match(r"\s*(\d+) kB", text)
    return int(found.group(1)) * 1024 if found else None


def idle_times(pid: int) -> dict[int, float]:
    """Return the seconds since each thread last ran, by thread id."""
    now_ms = scheduled_at_ms("/proc/thread-self/sched")
    idle: dict[int, float] = {}

    if now_ms is None:
        return idle

    try:
        tids = os.listdir(f"/proc/{pid}/task")[:MAX_THREADS]
    except OSError:
        return idle

    for tid in tids:
        last_ms = scheduled_at_ms(f"/proc/{pid}/task/{tid}/sched")

        if last_ms is not None:
            idle[int(tid)] = max(0.0, (now_ms - last_ms) / 1000)

    return idle


def environment(pid: int) -> dict[str, Any]:
    """Return the live variables of a process, redacted here, before they leave the node."""
    try:
        live = live_environ(pid)
    except EnvironUnreadable as error:
        return {"env_why": str(error)}

    return compare_environ(live, str(pid))


def redact_locals(text: bytes) -> bytes:
    """Redact the values of local variables in py-spy's JSON, by name and by shape."""
    threads = json.loads(text)

    for thread in threads:
        for frame in thread.get("frames") or ():
            for local in frame.get("locals") or ():
                local["repr"] = redact_pair(str(local.get("name")), str(local.get("repr")))

    return json.dumps(threads).encode()
