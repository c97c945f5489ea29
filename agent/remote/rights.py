"""Which of the kernel's checks lets one process read another, or denies it (stdlib only, sent by value).

Reading memory and stopping a process both need "attach" access (`man 2 ptrace`, "Ptrace access mode
checking"). No capability is needed where user and group are equal, the process is dumpable, the
reader has every capability that it has, and Yama does not restrict attaching.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

Credentials = Mapping[str, Any]
"""What `credentials` returns."""
SYS_PTRACE = 1 << 19
"""CAP_SYS_PTRACE in `/proc/PID/status` (linux/capability.h)."""
YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_TITLE = 80
_DENIED = "no ptrace access ({})"
_FILTERED = 2
"""The seccomp mode of a process under a filter."""


def credentials(pid: int) -> dict[str, Any] | None:
    """Return what the kernel compares when one process reads another, None for one that is gone."""
    status = status_of(pid)

    if not status:
        return None

    return {
        "pid": pid,
        "title": command_line(pid)[0].decode("utf-8", "replace")[:_TITLE],
        "uid": _effective(status.get("Uid", "")),
        "gid": _effective(status.get("Gid", "")),
        "cap_effective": int(status.get("CapEff", "0"), 16),
        "cap_permitted": int(status.get("CapPrm", "0"), 16),
        "cap_bounding": int(status.get("CapBnd", "0"), 16),
        "no_new_privs": status.get("NoNewPrivs") == "1",
        "seccomp": int(status.get("Seccomp", "0")),
        "tracer": int(status.get("TracerPid", "0")),
        "dumpable": _is_dumpable(pid, _effective(status.get("Uid", ""))),
        "user_namespace": _link(f"/proc/{pid}/ns/user"),
    }


def denial(pid: int) -> str:
    """Return why the kernel does not let this process read another, in the order of its checks."""
    me, other = credentials(os.getpid()), credentials(pid)

    if me is None or other is None:
        return "the process is gone or not visible from here"

    return _DENIED.format(denied_by(me, other, yama()))


def denied_by(me: Credentials, other: Credentials, scope: int | None) -> str:
    """Return the check that denies access, as a sentence without its end; see `denying_check`."""
    return {
        "yama_off": "no process may read others (kernel.yama.ptrace_scope=3)",
        "user": f"the process runs as user {other['uid']}, its reader as user {me['uid']}",
        "group": f"the process runs as group {other['gid']}, its reader as group {me['gid']}",
        "dumpable": "the process is not dumpable, so only SYS_PTRACE may read it",
        "capabilities": "the process has capabilities that its reader lacks",
        "yama": f"Yama restricts it (kernel.yama.ptrace_scope={scope})",
        "user_namespace": "the process is in another user namespace",
        "module": "the kernel refuses, perhaps by AppArmor or SELinux",
    }[denying_check(me, other, scope)]


def denying_check(me: Credentials, other: Credentials, scope: int | None) -> str:
    """Return the name of the check that denies one process to read another, in the kernel's order.

    `scope` is Yama's. That reading is denied is known; "module" is what is left.
    """
    if scope == 3:
        return "yama_off"

    if not me["cap_effective"] & SYS_PTRACE:
        if me["uid"] != other["uid"]:
            return "user"

        if me["gid"] != other["gid"]:
            return "group"

        if other["dumpable"] is False:
            return "dumpable"

        if other["cap_permitted"] & ~me["cap_effective"]:
            return "capabilities"

        if scope:
            return "yama"

    namespaces = (me["user_namespace"], other["user_namespace"])
    is_apart = None not in namespaces and namespaces[0] != namespaces[1]
    return "user_namespace" if is_apart else "module"


def stop_refusal(pid: int) -> str:
    """Return why a process whose memory can be read cannot be stopped for native frames."""
    me, other = credentials(os.getpid()), credentials(pid)

    if me is not None and other is not None and other["tracer"]:
        name = command_line(other["tracer"])[0].decode("utf-8", "replace").rpartition("/")[2]
        return f"pid {other['tracer']} ({name[:_TITLE] or '?'}) already traces it"

    if me is not None and me["seccomp"] == _FILTERED:
        return "the seccomp filter of this container refuses ptrace"

    return "the kernel refuses ptrace"


def yama() -> int | None:
    """Return Yama's `ptrace_scope`, None where the kernel has no Yama."""
    try:
        with open(YAMA) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def status_of(pid: int) -> dict[str, str]:
    """Return `/proc/PID/status` as a dict, empty for a process that is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            pairs = (line.partition(":") for line in file)
            return {name: value.strip() for name, _, value in pairs}
    except OSError:
        return {}


def command_line(pid: int) -> list[bytes]:
    """Return the arguments of a process; one empty argument for one that has none or is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return [b""]


def _effective(ids: str) -> int:
    """Return the effective one of the four ids in a line of `/proc/PID/status`."""
    fields = ids.split()
    return int(fields[1]) if len(fields) > 1 else 0


def _is_dumpable(pid: int, uid: int) -> bool | None:
    """Return whether a process may be read by its own user; None where /proc does not say.

    The files of one that may not belong to root (`man 5 proc`).
    """
    try:
        owner = os.stat(f"/proc/{pid}/environ").st_uid
    except OSError:
        return None

    return None if uid == 0 else owner == uid


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
