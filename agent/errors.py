"""Everything that can go wrong for a user, and the exit code it ends in.

    InspectError
    ├── UsageError            2   the command line asks for something impossible
    ├── AmbiguousTarget       2   several clusters, jobs or runs fit
    ├── TargetNotFound        3   no such job or run
    ├── ClusterUnreachable    3   nothing answers at the address
    ├── PermissionMissing     4   token or ptrace right missing: no rung could see
    ├── TimedOut              5   the time limit of the command passed
    └── VersionUnsupported    6   Ray or Python of the cluster differ from ours

A message is one sentence of what and why; `help_text` is what to type. Only `cli.main` prints.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    FINDINGS = 1
    USAGE = 2
    NOT_FOUND = 3
    PERMISSION = 4
    TIMEOUT = 5
    UNSUPPORTED = 6
    INTERRUPTED = 130


class InspectError(Exception):
    """Base of all errors that a user is told about."""

    exit_code: ExitCode = ExitCode.NOT_FOUND

    def __init__(self, message: str, *, help_text: str = "") -> None:
        super().__init__(message)
        self.help_text = help_text


class UsageError(InspectError):
    """Raised when the command line asks for something impossible."""

    exit_code = ExitCode.USAGE


class AmbiguousTarget(InspectError):
    """Raised when several clusters, jobs or runs fit what was asked for."""

    exit_code = ExitCode.USAGE


class TargetNotFound(InspectError):
    """Raised when no job or run has the given name."""

    exit_code = ExitCode.NOT_FOUND


class ClusterUnreachable(InspectError):
    """Raised when no Ray cluster answers at the address."""

    exit_code = ExitCode.NOT_FOUND


class PermissionMissing(InspectError):
    """Raised when a token or right is missing and no rung could see."""

    exit_code = ExitCode.PERMISSION


class TimedOut(InspectError):
    """Raised when the command's own time limit has passed."""

    exit_code = ExitCode.TIMEOUT


class VersionUnsupported(InspectError):
    """Raised when the cluster's Ray or Python version cannot be talked to from here."""

    exit_code = ExitCode.UNSUPPORTED
