"""What a process keeps of its own start without having been asked to (stdlib only, sent by value)."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from dsray_inspect.agent.compat.deepspeed import (
    BUILDER_MODULE,
    LOADED_OPS,
)
from dsray_inspect.agent.compat.ray import (
    CONTEXT_MODULE,
    CONTROLLER_LOG,
    GROUP_ATTEMPTED,
    GROUP_INITIALIZATION,
    TRAIN_LOGGER,
)
from dsray_inspect.agent.remote.startup_record import start_record, started_at

_END_BYTES = 512 * 1024
_MAX_LINES = 200
_TELLING = (GROUP_INITIALIZATION, GROUP_ATTEMPTED)


def own_record(_actor: Any, _request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    return {"start": start_record(os.getpid())}


def keepsakes(_actor: Any, _request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Return what a rank keeps: the record of its start, the ops it has built, Ray Train's sums."""
    return {"start": start_record(os.getpid()), "builds": _builds(), "train_s": _train_totals()}


def _train_totals() -> dict[str, float]:
    """Return the seconds that Ray Train itself sums up in a rank: for reports and checkpoints.

    It keeps them for its metrics (`WorkerMetricsCallback`), which vanish from Ray's own endpoint.
    """
    module = sys.modules.get(CONTEXT_MODULE)
    context = getattr(module, "_train_context", None)
    execution = getattr(context, "execution_context", None)
    metrics = [
        getattr(callback, "_metrics", None) or {}
        for callback in getattr(execution, "train_context_callbacks", None) or ()
    ]
    found = {
        str(name): getattr(metric, "_current_value", None)
        for by_name in metrics
        for name, metric in by_name.items()
    }
    return {name: value for name, value in found.items() if isinstance(value, float)}


def _builds() -> list[dict[str, Any]]:
    """Return the ops that DeepSpeed has built or loaded here, with how long ninja took.

    An op that another process has built, and this one only loads, is older than the wait for
    it: what counts is whether it was built since this process began.
    """
    builder = sys.modules.get(BUILDER_MODULE)
    loaded = dict(getattr(getattr(builder, LOADED_OPS[0], None), LOADED_OPS[1], None) or {})
    found = [_built(name, getattr(module, "__file__", None)) for name, module in loaded.items()]
    return [build for build in found if build is not None]


def _built(name: str, library: str | None) -> dict[str, Any] | None:
    """Return ninja's last word on an op: the end of its link is counted from ninja's own start."""
    if library is None:
        return None

    try:
        at = os.stat(library).st_mtime

        with open(os.path.join(os.path.dirname(library), ".ninja_log"), encoding="utf-8") as log:
            rows = [line.split("\t") for line in log.read(_END_BYTES).splitlines()]
    except (OSError, UnicodeDecodeError):
        return None

    ends = [row[1] for row in rows if len(row) == 5 and row[3] == os.path.basename(library)]

    if not ends or not ends[-1].isdigit():
        return None

    seconds = int(ends[-1]) / 1000
    return {"name": name, "seconds": seconds, "in_this_process": at >= started_at("self")}


def controller_log(_actor: Any, _request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Return time and text of those lines in the controller's own log that tell of a start."""
    lines: list[tuple[int, str]] = []

    for path in _log_files():
        lines += telling_lines(path)

    return {"log": lines[-_MAX_LINES:]}


def _log_files() -> list[str]:
    """Return the files that Ray Train's own logger writes here."""
    paths = [
        getattr(handler, "baseFilename", "") for handler in logging.getLogger(TRAIN_LOGGER).handlers
    ]
    return [path for path in paths if CONTROLLER_LOG in path]


def telling_lines(path: str) -> list[tuple[int, str]]:
    """Return them from both ends of a file: the first start is in one, a restart in the other."""
    with open(path, "rb") as file:
        head = file.read(_END_BYTES)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(len(head), size - _END_BYTES))
        text = head + file.read(_END_BYTES)

    found = []

    for line in text.decode(errors="replace").splitlines():
        if any(words in line for words in _TELLING):
            try:
                row = json.loads(line)
                found.append((int(row["timestamp_ns"]), str(row["message"])))
            except (ValueError, KeyError, TypeError):
                continue

    return found
