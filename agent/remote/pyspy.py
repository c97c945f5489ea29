"""Run py-spy on processes of this machine, all at once (stdlib only, sent by value)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dsray_inspect.agent.remote.unavailable import unavailable

_ATTEMPTS = 3
_PARALLEL = 8
NEEDS_PTRACE = "py-spy needs ptrace rights (same user and SYS_PTRACE, or root)"


def find_pyspy() -> str | None:
    """Return py-spy's path: beside this interpreter, on PATH, or None."""
    beside = os.path.join(os.path.dirname(sys.executable), "py-spy")
    return beside if os.access(beside, os.X_OK) else shutil.which("py-spy")


def dump_all(pids: list[int], options: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Dump every process in parallel; each answer has `json`, or `detail` and `reason`; and `pause_ms`.

    `options`: `native`, `locals` (bool) and `timeout_s`.
    """
    program = find_pyspy()

    if program is None:
        return {
            pid: unavailable(
                "not_installed", "py-spy is not installed on this node (pip install py-spy)"
            )
            for pid in pids
        }

    if not pids:
        return {}

    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(pids))) as pool:
        answers = pool.map(lambda pid: dump(program, pid, options), pids)
        return dict(zip(pids, answers, strict=True))


def dump(program: str, pid: int, options: dict[str, Any]) -> dict[str, Any]:
    """Dump one process; without native frames, and a `note` on why, where these cannot be had."""
    deadline = time.monotonic() + options["timeout_s"]
    answer = _attempt(program, pid, options, deadline)

    if "json" not in answer and options["native"] and not answer.get("final"):
        without = _attempt(program, pid, {**options, "native": False}, deadline)

        if "json" in without:
            return {**without, "note": f"without native frames: {answer['detail']}"}

    return answer


def _attempt(program: str, pid: int, options: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Dump one process; a torn read of a running one is tried again."""
    stops = bool(options["native"])
    command = [program, "dump", "--json", "--pid", str(pid)]
    command += ["--native"] if options["native"] else []
    command += ["--locals"] if options["locals"] else []
    command += [] if stops else ["--nonblocking"]
    answer = unavailable("failed", "py-spy was not run")

    for _ in range(_ATTEMPTS):
        left_s = deadline - time.monotonic()

        if left_s <= 0:
            break

        started = time.monotonic()
        answer = _run(command, left_s)
        answer["pause_ms"] = (time.monotonic() - started) * 1000 if stops else 0.0

        if "json" in answer or answer.get("final"):
            break

    return answer


def _run(command: list[str], timeout_s: float) -> dict[str, Any]:
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return _final("timeout", f"py-spy did not finish in {timeout_s:.1f} s")
    except OSError as error:
        return _final("failed", f"py-spy does not start: {error}")

    if done.returncode == 0 and done.stdout.strip():
        return {"json": done.stdout}

    return explain(done.stderr.decode("utf-8", "replace"))


def explain(stderr: str) -> dict[str, Any]:
    """Turn py-spy's complaint into one sentence, and whether trying again is useless."""
    text = stderr.lower()

    if "permission denied" in text or "operation not permitted" in text:
        return _final("no_ptrace", NEEDS_PTRACE)

    if "no such process" in text or "no such file" in text:
        return _final("not_running", "the process has ended")

    if "failed to find a python version" in text or "unsupported version" in text:
        return _final("failed", "py-spy does not know this Python version")

    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return unavailable("failed", f"py-spy: {lines[0][:160] if lines else 'no output'}")


def _final(reason: str, detail: str) -> dict[str, Any]:
    """Return a failure that another attempt would not change."""
    return {**unavailable(reason, detail), "final": True}
