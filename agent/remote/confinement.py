"""How the container around this process confines it (stdlib only, sent by value)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from dsray_inspect.agent.remote.rights import command_line, yama

_OK = "ok"
_TRIAL_S = 5
_TRIAL = """
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)

# Neither does anything: this process traces nobody, and the read is of nothing.
for call, args, harmless in (
    (libc.ptrace, (17, os.getpid(), None, None), 3),  # PTRACE_DETACH, ESRCH
    (libc.process_vm_readv, (os.getpid(), None, 0, None, 0, 0), 0),
):
    ctypes.set_errno(0)
    call(*args)
    error = ctypes.get_errno()
    print("ok" if error == harmless else f"refused ({os.strerror(error)})", flush=True)
"""
"""Calls in a process of their own, because a filter may kill whoever makes them."""


def confinement() -> dict[str, Any]:
    """Return the facts about this process's surroundings that decide what it may read."""
    ptrace, process_vm_readv = _filtered_calls()
    return {
        "container": container(),
        "yama": yama(),
        "hidepid": hidepid(),
        "first_process": os.path.basename(command_line(1)[0].decode("utf-8", "replace")),
        "root_read_only": root_read_only(),
        "security_label": _security_label(),
        "ptrace_call": ptrace,
        "process_vm_readv_call": process_vm_readv,
    }


def container() -> str:
    """Return "kubernetes", "container" or "": it decides which fix can be pasted."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"

    marks = ("/.dockerenv", "/run/.containerenv")
    return "container" if any(os.path.exists(path) for path in marks) else ""


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


def root_read_only() -> bool:
    """Return whether the root file system is mounted read-only (`readOnlyRootFilesystem`)."""
    try:
        return bool(os.statvfs("/").f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _security_label() -> str:
    """Return the AppArmor profile or SELinux context of this process, "" for none."""
    try:
        with open("/proc/self/attr/current") as file:
            label = file.read().strip("\0\n ")
    except OSError:
        return ""

    return "" if label == "unconfined" else label


def _filtered_calls() -> tuple[str, str]:
    """Return for `ptrace` and `process_vm_readv` "ok", or how they fail whatever their target."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRIAL],
            capture_output=True,
            text=True,
            timeout=_TRIAL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return (f"not tried: {error}",) * 2

    results = done.stdout.split("\n")[:-1]
    # The one that has no answer ended the process.
    ended = f"refused (killed by signal {-done.returncode})" if done.returncode < 0 else "not tried"
    first, second = [*results, ended, "not tried"][:2]
    return first, second
