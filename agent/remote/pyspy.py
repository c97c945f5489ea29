"""Run py-spy on processes of this machine, all at once (stdlib only, sent by value).

`--nonblocking` only reads memory: it neither stops the process nor needs the `ptrace` call, and where
`process_vm_readv` is refused, py-spy reads `/proc/PID/mem`. Its price is that a thread which runs may
change its frames while they are read: the read fails, or the stack has lost its outermost frames, and
is repeated. Native frames cannot be had so: for them py-spy stops the process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dsray_inspect.agent.remote.rights import denial, stop_refusal
from dsray_inspect.agent.remote.threads import start_of
from dsray_inspect.agent.remote.unavailable import unavailable

_ATTEMPTS = 10
"""How often a process that runs may change its frames while they are read."""
_PARALLEL = 8
_STARTS = ("<module>", "_run_module_as_main")
"""The outermost function of a main thread: that of a script, or of `python -m`."""
TORN = "it ran and changed its frames whenever they were read; --native stops it to read them"
CUT_SHORT = "its main thread ran while it was read, and the stack has lost its outermost frames"
FILE_CAPABILITIES = "py-spy does not start, because its file has capabilities (setcap) that this container may not have"


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

    if "json" in answer or not options["native"] or answer["reason"] in ("timeout", "not_running"):
        return answer

    without = _attempt(program, pid, {**options, "native": False}, deadline)

    if "json" in without:
        return {**without, "note": f"without native frames: {answer['detail']}"}

    return without if without["reason"] == "no_ptrace" else answer


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

        before, started = _scheduled(pid), time.monotonic()
        newer = _run(command, pid, left_s)
        newer["pause_ms"] = (time.monotonic() - started) * 1000 if stops else 0.0
        # A stack that is cut short still says more than none.
        answer = newer if "json" in newer or "json" not in answer else answer

        if newer.get("final"):
            break

        if "json" in newer:
            if stops or _slept(pid, before) or not is_cut_short(newer["json"], pid):
                return newer

            newer["note"] = CUT_SHORT

    return answer


def is_cut_short(text: bytes, pid: int) -> bool:
    """Return whether the main thread's frames in a dump do not reach back to its beginning."""
    try:
        threads = json.loads(text)
        frames = next(thread["frames"] for thread in threads if thread["os_thread_id"] == pid)
        return bool(frames) and frames[-1]["name"] not in _STARTS
    except (ValueError, KeyError, TypeError, StopIteration):
        return False


def _scheduled(pid: int) -> bytes:
    """Return the kernel's counters of how often and how long it has run the main thread."""
    return start_of(f"/proc/{pid}/task/{pid}/schedstat")


def _slept(pid: int, before: bytes) -> bool:
    """Return whether the main thread has not run since `before`: its stack is whole as it is."""
    state = start_of(f"/proc/{pid}/task/{pid}/stat").rpartition(b")")[2].split()
    return before != b"" and before == _scheduled(pid) and state[:1] != [b"R"]


def _run(command: list[str], pid: int, timeout_s: float) -> dict[str, Any]:
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return _final("timeout", f"py-spy did not finish in {timeout_s:.1f} s")
    except OSError as error:
        if isinstance(error, PermissionError) and has_file_capabilities(command[0]):
            return _final("failed", FILE_CAPABILITIES)

        return _final("failed", f"py-spy does not start: {error}")

    if done.returncode == 0 and done.stdout.strip():
        return {"json": done.stdout}

    return explain(done.stderr.decode("utf-8", "replace"), pid)


def has_file_capabilities(program: str) -> bool:
    """Return whether somebody has run `setcap` on a program."""
    try:
        return bool(os.getxattr(os.path.realpath(program), "security.capability"))
    except OSError:
        return False


def explain(stderr: str, pid: int) -> dict[str, Any]:
    """Turn py-spy's complaint into one sentence, and whether trying again is useless."""
    text = stderr.lower()

    # It has read the process's memory by then.
    if "failed to suspend process" in text:
        return _final("no_ptrace", f"py-spy cannot stop the process: {stop_refusal(pid)}")

    if "permission denied" in text or "operation not permitted" in text:
        return _final("no_ptrace", denial(pid))

    if "no such process" in text or "no such file" in text:
        return _final("not_running", "the process has ended")

    if "failed to find a python version" in text or "unsupported version" in text:
        return _final("failed", "py-spy does not know this Python version")

    if "failed to copy" in text:
        return unavailable("failed", TORN)

    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return unavailable("failed", f"py-spy: {lines[0][:160] if lines else 'no output'}")


def _final(reason: str, detail: str) -> dict[str, Any]:
    """Return a failure that another attempt would not change."""
    return {**unavailable(reason, detail), "final": True}
