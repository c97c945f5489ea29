"""What is read on a node from outside the workers (stdlib only, sent by value).

The same function answers in the attaching process for its own node and in the node agent
(an actor) for every other.
"""

from __future__ import annotations

import glob
import json
import os
import socket
import time
from typing import Any

from dsray_inspect.agent.compat.ray import SPILL_FOLDER
from dsray_inspect.agent.remote import faultdump as faultdump
from dsray_inspect.agent.remote.environ import (
    EnvironUnreadable,
    compare_environ,
    live_environ,
)
from dsray_inspect.agent.remote.gpus import read_gpus
from dsray_inspect.agent.remote.log_tail import tails_of
from dsray_inspect.agent.remote.postmortem import post_mortem
from dsray_inspect.agent.remote.process import descendants, probe
from dsray_inspect.agent.remote.process_secrets import process_secrets
from dsray_inspect.agent.remote.pyspy import dump_all
from dsray_inspect.agent.remote.recorder_outside import read_recorders
from dsray_inspect.agent.remote.redaction import REDACTED, redact_pair
from dsray_inspect.agent.remote.sockets import Tables
from dsray_inspect.agent.remote.startup_record import identity_of, start_record
from dsray_inspect.agent.remote.unavailable import unavailable

Processes = dict[int, dict[str, Any]]
"""What was found of each process, by pid."""

_SHOWN_OF_SECRET = 16
"""As many first characters of a secret betray it."""


def read_node(request: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked of this node's processes, GPUs, logs and object store.

    `request`: `until` (Unix seconds), `pids`, `threads`, `stacks`, `environs` and `recorders` (lists
    of pids), `recorder_trial` and `recorder_wait_s` (see `remote.recorder_outside`),
    `counters` (bool; see `remote.process`),
    `session_dir` of Ray, `ended` (see `remote.postmortem`), `logs` (see `remote.log_tail`), `gpus`,
    `signals` (bool: whether a process may be sent the signal it was submitted with), `native`,
    `locals`, `children` (bool) and `timeout_s` for py-spy.

    The answer is what `sampling.decode.node_report` decodes. Where a dict with `reason` and
    `detail` stands for something, that was not available.
    """
    if time.time() > request["until"]:
        return {"late": True}

    # First: py-spy's pauses make the kernel run each thread, which resets its idle time.
    processes, children = _probed(request)

    for found in (
        _dumped([*request["stacks"], *children], request),
        _started(request["stacks"]),
        {pid: {"environ": _environment(pid)} for pid in request["environs"]},
        _recorded(request),
    ):
        for pid, more in found.items():
            processes.setdefault(pid, {}).update(more)

    gpus, failure = read_gpus() if request["gpus"] else ([], unavailable("not_asked", "not asked"))
    return {
        "post_mortem": post_mortem(request["ended"]) if request.get("ended") else None,
        "logs": tails_of(request["session_dir"], request["logs"]) if request.get("logs") else {},
        "spilled": _spilled(request.get("session_dir", "")),
        "hostname": socket.gethostname(),
        "processes": processes,
        "gpus": failure or gpus,
    }


def _probed(request: dict[str, Any]) -> tuple[Processes, list[int]]:
    """Return what the kernel says of the processes, and the pids of their children if asked for."""
    tables: Tables = {}
    counters, apart = request["counters"], set(request["threads"])
    processes = {
        pid: probe(pid, tables, threads=pid in apart, counters=counters) for pid in request["pids"]
    }
    below = descendants(request["stacks"]) if request["children"] else {}

    for pid, children in below.items():
        processes.setdefault(pid, {})["children"] = children
        processes.update(
            {child: probe(child, tables, threads=True, counters=counters) for child in children}
        )

    return processes, [child for children in below.values() for child in children]


def _dumped(pids: list[int], request: dict[str, Any]) -> Processes:
    """Return the stacks of processes, or why there are none."""
    found: Processes = {}

    for pid, answer in dump_all(pids, request).items():
        if "json" not in answer and request.get("signals"):
            answer = _by_signal(pid, answer)

        if "json" in answer and request["locals"]:
            answer["json"] = redact_locals(pid, answer["json"])

        found[pid] = {"stack": answer}

    return found


def _started(pids: list[int]) -> Processes:
    """Return the recorded starts of submitted processes, which say what rank each is, too."""
    records = {pid: start_record(pid) for pid in pids}
    return {
        pid: {"start": record, "identity": identity_of(record)}
        for pid, record in records.items()
        if record is not None
    }


def _recorded(request: dict[str, Any]) -> Processes:
    """Return what the flight recorders of processes hold."""
    found = read_recorders(
        request["recorders"], request["recorder_trial"], request["recorder_wait_s"]
    )
    return {pid: {"recorder": recorder} for pid, recorder in found.items()}


def _by_signal(pid: int, failed: dict[str, Any]) -> dict[str, Any]:
    """Return the stacks that a submitted process gives at a signal, else py-spy's failure."""
    answer = faultdump.dump(pid)

    if answer is None:
        return failed

    if "json" not in answer:
        return {**failed, "detail": f"{failed['detail']}; {answer['detail']}"}

    return {**answer, "note": f"stacks by faulthandler's signal, as {failed['detail']}"}


def _spilled(session_dir: str) -> dict[str, Any]:
    """Return the bytes that this node's object store has moved to its disk, and when it last did."""
    found, newest_at = 0, 0.0

    for path in glob.glob(f"{session_dir}/{SPILL_FOLDER}*/*") if session_dir else ():
        try:
            status = os.stat(path)
        except OSError:
            continue

        found, newest_at = found + status.st_size, max(newest_at, status.st_mtime)

    return {"bytes": found, "newest_s": time.time() - newest_at if newest_at else None}


def _environment(pid: int) -> dict[str, Any]:
    """Return the live variables of a process, redacted here, before they leave the node."""
    try:
        live = live_environ(pid)
    except EnvironUnreadable as error:
        return unavailable(error.reason, str(error))

    return compare_environ(live, str(pid))


def redact_locals(pid: int, text: bytes) -> bytes:
    """Redact the local variables in py-spy's JSON; all of them where no secret is known."""
    threads = json.loads(text)
    known: list[str] | None

    try:
        known = process_secrets(pid)
    except EnvironUnreadable:
        known = None

    for thread in threads:
        for frame in thread.get("frames") or ():
            for local in frame.get("locals") or ():
                name, value = str(local.get("name")), str(local.get("repr"))
                is_clean = known is not None and not any(_holds(value, secret) for secret in known)
                local["repr"] = redact_pair(name, value) if is_clean else REDACTED

    return json.dumps(threads).encode()


def _holds(value: str, secret: str) -> bool:
    """Return whether a local's repr shows a secret, or its beginning: py-spy cuts long values."""
    return secret[:_SHOWN_OF_SECRET] in value or repr(secret)[1:-1][:_SHOWN_OF_SECRET] in value
