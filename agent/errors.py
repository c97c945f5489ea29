"""All errors that a user can meet, and their exit codes.

    InspectError
    ├── UsageError            2   invalid command line
    ├── AmbiguousTarget       2   several clusters, jobs or runs match
    ├── TargetNotFound        3   no such job or run
    ├── ClusterUnreachable    3   nothing answers at the address
    ├── PermissionMissing     4   token or ptrace right missing: nothing could be read
    ├── TimedOut              5   the time limit of the command passed
    └── VersionUnsupported    6   the cluster's Ray or Python differs from this one

The message is one sentence that says what failed and why; `help_text` says what to type. Only
`cli.main` prints.
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
    """Base class of all errors reported to the user."""

    exit_code: ExitCode = ExitCode.NOT_FOUND

    def __init__(self, message: str, *, help_text: str = "") -> None:
        super().__init__(message)
        self.help_text = help_text


class UsageError(InspectError):
    """Raised when the command line is invalid."""

    exit_code = ExitCode.USAGE


class AmbiguousTarget(InspectError):
    """Raised when several clusters, jobs or runs match the request."""

    exit_code = ExitCode.USAGE


class TargetNotFound(InspectError):
    """Raised when no job or run has the given name."""

    exit_code = ExitCode.NOT_FOUND


class ClusterUnreachable(InspectError):
    """Raised when no Ray cluster answers at the address."""

    exit_code = ExitCode.NOT_FOUND


class PermissionMissing(InspectError):
    """Raised when a token or privilege is missing and nothing could be read."""

    exit_code = ExitCode.PERMISSION


class TimedOut(InspectError):
    """Raised when the command's time limit has passed."""

    exit_code = ExitCode.TIMEOUT


class VersionUnsupported(InspectError):
    """Raised when the cluster's Ray or Python version does not match this installation."""

    exit_code = ExitCode.UNSUPPORTED
