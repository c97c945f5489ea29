"""Which values are secret in what a process prints (stdlib only, sent by value).

Redaction by name and by format misses a plain password in a log line. Such a value is known from
the variable that holds it, so text from a process is checked against its environment. Where the
environment cannot be read, the text is withheld: nobody can say that it is clean.
"""

from __future__ import annotations

import os

from dsray_inspect.agent.remote.environ import EnvironUnreadable, environ_block, live_environ
from dsray_inspect.agent.remote.redaction import known_secrets

WITHHELD = "withheld: the secrets in its environment are not known, as {}"
_NO_PROCESS = "no process of this node's Ray can be read"


def process_secrets(pid: int) -> list[str]:
    """Return the secrets in a process's environment, longest first.

    A variable may have been set or removed since exec, so both environments count. Where the live
    one cannot be read (reading memory needs more privileges), the one of exec time must do.

    Raises:
        EnvironUnreadable: Neither environment can be read.
    """
    at_exec = environ_block(f"/proc/{pid}/environ")

    try:
        live = live_environ(pid)
    except EnvironUnreadable:
        if at_exec is None:
            raise

        live = {}

    return _longest_first({*known_secrets(live), *known_secrets(at_exec or {})})


def exec_secrets(pid: int) -> list[str]:
    """Return the secrets a process was started with, longest first.

    Cheap enough for every sample, and enough for a command line, which is as old.

    Raises:
        EnvironUnreadable: The environment cannot be read.
    """
    at_exec = environ_block(f"/proc/{pid}/environ")

    if at_exec is None:
        raise EnvironUnreadable("its /proc/PID/environ cannot be read")

    return known_secrets(at_exec)


def node_secrets() -> list[str]:
    """Return the secrets in the environments of this node's raylet and Ray workers.

    They stand in for the environment of a worker that has ended: its siblings inherited the same
    variables and were given the same runtime environment.

    Raises:
        EnvironUnreadable: None of these processes can be read.
    """
    found: set[str] = set()
    read = 0

    for pid in _ray_processes():
        try:
            found.update(process_secrets(pid))
        except EnvironUnreadable:
            continue

        read += 1

    if not read:
        raise EnvironUnreadable(_NO_PROCESS)

    return _longest_first(found)


def _ray_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _is_ray(name)]


def _is_ray(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            program = file.read().partition(b"\0")[0]
    except OSError:
        return False

    return program.startswith(b"ray::") or program.endswith(b"/raylet")


def _longest_first(secrets: set[str]) -> list[str]:
    return sorted(secrets, key=len, reverse=True)
