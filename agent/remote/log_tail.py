"""The last lines of a worker's log files, as they may be shown (stdlib only, sent by value)."""

from __future__ import annotations

import codecs
import errno
import glob
import json
import os
import re
import stat
import time
from collections.abc import Sequence
from typing import Any

from dsray_inspect.agent.compat.ray import (
    APP_LOG,
    OUTPUT_LOGS,
    OUTPUT_MARKS,
    TRAIN_LOG_FOLDER,
)
from dsray_inspect.agent.remote.environ import EnvironUnreadable
from dsray_inspect.agent.remote.process_secrets import WITHHELD, process_secrets
from dsray_inspect.agent.remote.redaction import REDACTED, redact_text

TAIL_BYTES = 64 << 10
LINE_WIDTH = 300
_LONGEST_READ = 8_000
"""Characters of a line that are read: what is hidden costs time by its length."""

# (name, file below Ray's `logs`); Ray Train's own has what `print` and `logging` were given.
_FILES = (
    *OUTPUT_LOGS,
    ("train", f"{TRAIN_LOG_FOLDER}/{APP_LOG}{{}}.log"),
)
_NO_FOLDER = "Ray does not say where its logs are on this node"
_NO_FILE = (
    "no log file of it is in {}: it was rotated away or removed, "
    "or the node logs to stderr (RAY_LOG_TO_STDERR)"
)

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|.)")
_PRIVATE_KEY = re.compile(
    r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)"
)
_KEY_ENDS = re.compile(r"(?s)\A.*-----END [A-Z0-9 ]*PRIVATE KEY-----")


def tails_of(session_dir: str, request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the ends of its log files for each worker, by worker id.

    `request`: `workers` (pid by worker id) and `lines` (how many of each file).
    """
    folder = os.path.join(session_dir, "logs") if session_dir else ""
    return {
        worker_id: tail_of(folder, worker_id, pid=pid, lines=request["lines"])
        for worker_id, pid in request["workers"].items()
    }


def tail_of(folder: str, worker_id: str, *, pid: int, lines: int) -> dict[str, Any]:
    """Return the ends of a worker's files, and "ok" or why one is missing."""
    if not folder:
        return {"files": [], "why": _NO_FOLDER}

    try:
        known = process_secrets(pid)
    except EnvironUnreadable as error:
        return {"files": [], "why": WITHHELD.format(error)}

    files: list[dict[str, Any]] = []
    failures: list[str] = []

    for stream, pattern in _FILES:
        for path in glob.glob(os.path.join(glob.escape(folder), pattern.format(worker_id))):
            try:
                end = end_of(path, known=known, lines=lines, is_json=stream == "train")
            except OSError as error:
                failures.append(f"{path} cannot be read: {error.strerror}")
            else:
                files.append({"stream": stream, "path": path, **end})

    none = "ok" if files else _NO_FILE.format(folder)
    return {"files": files, "why": "; ".join(failures) or none}


def end_of(path: str, *, known: Sequence[str], lines: int, is_json: bool) -> dict[str, Any]:
    """Return the last lines of one file.

    Raises:
        OSError: it cannot be read, or is no plain file.
    """
    # A user's job may have put anything there: a link to a file of ours, a pipe without end.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)

    with open(handle, "rb") as file:
        status = os.fstat(handle)

        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")

        start = max(0, status.st_size - TAIL_BYTES)
        file.seek(start)
        data = file.read(TAIL_BYTES)

    shown, is_whole = _lines_of(data, known, lines=lines, is_torn=start > 0, is_json=is_json)
    age_s = max(0.0, time.time() - status.st_mtime)
    return {"lines": shown, "is_whole": is_whole, "age_s": age_s}


def _lines_of(
    data: bytes, known: Sequence[str], *, lines: int, is_torn: bool, is_json: bool
) -> tuple[list[str], bool]:
    """Return the last lines in a file's end, and whether these are all that the file has.

    Secrets are hidden before anything is cut: a part of one would not look like one.
    """
    if is_torn:
        # Its first line lacks its beginning, and with that perhaps the name of a secret.
        begin = re.search(rb"[\r\n]", data)
        data = data[begin.end() :] if begin else b""

    # The last character may be half written: it is left out, not replaced.
    text = _ESCAPES.sub("", codecs.utf_8_decode(data, "replace", False)[0])
    text = _without_keys(text, is_torn=is_torn)

    for secret in known:  # here for those of many lines, below for those that JSON writes otherwise
        text = text.replace(secret, REDACTED)

    raw = [line for line in map(_last_drawn, text.split("\n")) if line]
    raw = [line for line in raw if not line.startswith(OUTPUT_MARKS)]
    shown: list[str] = []

    for line in raw[-lines:]:
        shown += _record_lines(line, known) if is_json else _printed(line, known)

    return shown[-lines:], not is_torn and len(raw) <= lines and len(shown) <= lines


def _without_keys(text: str, *, is_torn: bool) -> str:
    """Hide private keys, which are the secrets of many lines; one may have begun before the text."""
    if "PRIVATE KEY" not in text:
        return text

    text = _PRIVATE_KEY.sub(REDACTED, text)
    return _KEY_ENDS.sub(REDACTED, text) if is_torn else text


def _last_drawn(line: str) -> str:
    """Return what a terminal would show of a line: a progress bar's last state."""
    return line.rstrip().rpartition("\r")[2]


def _record_lines(line: str, known: Sequence[str]) -> list[str]:
    """Return a record of Ray Train's JSON log as lines."""
    try:
        record = json.loads(line)
        head = f"{record['asctime']} {record['levelname']} "
        message = str(record["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return _printed(line, known)

    return _printed(f"{head}{message}\n{record.get('exc_text') or ''}".rstrip(), known)


def _printed(text: str, known: Sequence[str]) -> list[str]:
    """Return a text as it may be shown: secrets hidden, no control characters, of a sane width."""
    if len(text) > _LONGEST_READ:
        # Only whole words: half a secret might not be known as one.
        text = text[:_LONGEST_READ].rpartition(" ")[0] + " …"

    clean = "".join(c for c in text.expandtabs(4) if c.isprintable() or c == "\n")
    lines = redact_text(clean, known).split("\n")
    return [line if len(line) <= LINE_WIDTH else line[: LINE_WIDTH - 1] + "…" for line in lines]
