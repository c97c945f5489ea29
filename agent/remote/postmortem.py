"""What a node keeps of processes that have ended: their last words, Ray Train's account of the
failure, and whom the kernel killed for memory (stdlib only, sent by value).
"""

from __future__ import annotations

import glob
import json
import os
import re
import socket
from collections.abc import Callable
from typing import Any

from dsray_inspect.agent.compat.ray import (
    CONTROLLER_LOG,
    FAILURE_POLICY,
    GROUP_STARTED,
    TRAIN_LOG_FOLDER,
)
from dsray_inspect.agent.remote.environ import EnvironUnreadable
from dsray_inspect.agent.remote.process_secrets import WITHHELD, node_secrets
from dsray_inspect.agent.remote.redaction import redact_text

TAIL_BYTES = 1 << 20
TAIL_LINES = 12
MAX_ACCOUNT = 12_000
MAX_RECORDS = 20_000
HEADS = re.compile(r"(?m)^\[FailurePolicy\].*|^Error: |^\[Rank [\d,]+ Error Snippet\]:$")
"""The lines of a failure that say whose it is, and hold nothing of the failure itself."""
KILLED = re.compile(r"[Kk]illed process (\d+)")
TELLING = re.compile(
    r"what\(\)|\w*(?:Error|Exception|Interrupt)\b|SIG[A-Z]+ received|enforce fail|expected size"
    r"|[Kk]illed|Fatal|[Oo]ut of memory|[Cc]annot allocate"
)
"""What is worth keeping of a crash's many lines."""


def post_mortem(request: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept.

    `request`: `session_dir`, `controller` (a worker id or None) and `workers` (pid by worker id).
    """
    folder = os.path.join(request["session_dir"], "logs")
    controller = request["controller"]
    hide = redactor()
    return {
        "train_log": train_log_of(folder, controller, hide) if controller else [],
        "last_words": {
            worker_id: last_words(folder, worker_id, pid, hide=hide)
            for worker_id, pid in request["workers"].items()
        },
        "oom_killed": sorted(oom_killed() & set(request["workers"].values())),
        "interfaces": interfaces(),
    }


def interfaces() -> list[str]:
    """Return the names of this node's network interfaces."""
    try:
        return sorted(name for _, name in socket.if_nameindex())
    except OSError:
        return []


def redactor() -> Callable[[str], str]:
    """Return what hides the secrets of a process that has ended in its text."""
    try:
        known = node_secrets()
    except EnvironUnreadable as error:
        withheld = WITHHELD.format(error)
        return lambda text: (
            "\n".join(f"{head}\n{withheld}" for head in HEADS.findall(text)) or withheld
        )

    return lambda text: redact_text(text, known)


def train_log_of(folder: str, worker_id: str, hide: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return the messages in which Ray Train's controller tells of groups and failures."""
    found = []

    for line in tail(os.path.join(folder, TRAIN_LOG_FOLDER, f"{CONTROLLER_LOG}-{worker_id}.log")):
        try:
            record = json.loads(line)
        except ValueError:
            continue

        message = str(record.get("message", ""))

        if message.startswith(GROUP_STARTED):
            shown = message  # one line a rank, and every one is needed
        elif message.startswith(FAILURE_POLICY):
            shown = hide(message)[:MAX_ACCOUNT]
        else:
            continue

        found.append({"at": record.get("timestamp_ns", 0) / 1e9, "message": shown})

    return found


def last_words(folder: str, worker_id: str, pid: int, *, hide: Callable[[str], str]) -> list[str]:
    """Return the last lines that a process wrote to stderr."""
    for path in glob.glob(os.path.join(folder, f"worker-{worker_id}-*-{pid}.err")):
        lines = [line.strip() for line in tail(path) if TELLING.search(line)]
        shown = [hide(line)[:300] for line in dict.fromkeys(lines)]
        return list(dict.fromkeys(shown))[-TAIL_LINES:]

    return []


def tail(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def oom_killed() -> set[int]:
    """Return the pids that the kernel says it killed for memory; none where we may not read it."""
    found: set[int] = set()

    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return found

    try:
        for _ in range(MAX_RECORDS):
            try:
                record = os.read(log, 8192).decode("utf-8", "replace")
            except BrokenPipeError:
                continue  # overwritten while we read
            except OSError:
                break

            found.update(int(pid) for pid in KILLED.findall(record))
    finally:
        os.close(log)

    return found
