"""A file that a command writes as a whole, under a name that is still free."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from dsray_inspect.agent.errors import UsageError


def reject_existing(path: Path) -> None:
    """Reject a path that could not be written: known before anything slow is done.

    Raises:
        UsageError: It exists, or its folder is not there or not writable.
    """
    if path.exists():
        raise UsageError(
            f"{path} exists already and is not overwritten.", help_text="Give another name with -o."
        )

    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(
            f"The folder {path.parent} does not exist or is not writable.",
            help_text="Give another one with -o.",
        )


def write_new(path: Path, content: bytes) -> None:
    """Write the whole file, which only its owner can read, or nothing.

    Raises:
        UsageError: It exists by now, or cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")

    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)

        reject_existing(path)
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    finally:  # nothing is left of it once it has its name
        with contextlib.suppress(OSError):
            beside.unlink()
