"""Run a command with the rights of a pod: another user, no capabilities, no_new_privs, a seccomp filter.

As a script it confines itself and then becomes the command; `confined` returns what to put before one.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

RUNTIME_DEFAULT: Final = ("process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd")
"""What containerd's and Docker's profiles refuse to a process without CAP_SYS_PTRACE, of what reads others."""
_CALLS: Final = {
    "x86_64": {
        "ptrace": 101,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "pidfd_getfd": 438,
    },
    "aarch64": {
        "ptrace": 117,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "pidfd_getfd": 438,
    },
}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 22, 38, 24
_FILTER = 2
_LOAD_NUMBER = (0x20, 0, 0, 0)
_ALLOW, _KILL_PROCESS, _EPERM = 0x7FFF0000, 0x80000000, 0x00050001
_CAPABILITIES = 41
"""How many there are; a kernel that knows fewer refuses the rest."""


def confined(
    *,
    uid: int | None = None,
    gid: int | None = None,
    refuse: Sequence[str] = (),
    kill: Sequence[str] = (),
    drop: str = "all",
    no_new_privs: bool = True,
) -> tuple[str, ...]:
    """Return what to put before a command: who runs it, and which system calls fail or end it.

    `drop`: "all" capabilities, "sys_ptrace" or "".
    """
    flags = [f"--refuse={name}" for name in refuse] + [f"--kill={name}" for name in kill]
    flags += [] if uid is None else [f"--uid={uid}", f"--gid={uid if gid is None else gid}"]
    flags += ["--no-new-privs"] if no_new_privs else []
    return sys.executable, "-I", "-S", __file__, f"--drop={drop}", *flags, "--"


def python_of(code: str, *before: str, env: Mapping[str, str] | None = None) -> str | None:
    """Return the Python that can run some code after `before`, None where neither can.

    The one of the tests may lie in root's home folder, where other users may not read.
    """
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if not subprocess.run(
                [*before, python, "-c", code], capture_output=True, env=env
            ).returncode:
                return python

    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--drop", default="")
    parser.add_argument("--refuse", action="append", default=[])
    parser.add_argument("--kill", action="append", default=[])
    parser.add_argument("--no-new-privs", action="store_true")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()

    if os.geteuid() == 0:
        _drop_capabilities(given.drop)

    if given.uid is not None:
        os.setgroups([])
        os.setresgid(given.gid, given.gid, given.gid)
        os.setresuid(given.uid, given.uid, given.uid)

    # Only with it may a user without rights set a filter.
    if given.no_new_privs:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)

    if given.refuse or given.kill:
        _filter(given.refuse, given.kill)

    os.execvp(given.command[0], given.command)


def _drop_capabilities(which: str) -> None:
    """Drop capabilities from the bounding set: nothing that is started from here on has them."""
    numbers = {"all": range(_CAPABILITIES), "sys_ptrace": [19], "": []}[which]

    for number in numbers:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)


def _filter(refuse: Sequence[str], kill: Sequence[str]) -> None:
    """Set a seccomp filter in which some system calls fail with EPERM, and some end the process."""
    numbers = _CALLS[platform.machine()]
    rules = [_LOAD_NUMBER]

    for names, verdict in ((refuse, _EPERM), (kill, _KILL_PROCESS)):
        for name in names:
            rules += [(0x15, 0, 1, numbers[name]), (0x06, 0, 0, verdict)]

    rules.append((0x06, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code))
    _prctl(_PR_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(program))


def _prctl(option: int, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    if libc.prctl(option, *args, *[0] * (4 - len(args))):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main()
