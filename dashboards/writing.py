"""Files of ours in a folder of somebody else's: what was changed there is never lost silently."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Final

import msgspec

from dsray_inspect.agent.errors import UsageError

NOTE: Final = ".dsray-inspect.json"
"""Says what we wrote: a file that is not as we left it belongs to somebody else."""


def write(folder: Path, texts: dict[str, str], *, force: bool) -> list[str]:
    """Write the files below the folder, and return the paths of those that changed."""
    written = noted(folder)
    different = [path for path, text in texts.items() if current(folder / path) != text.encode()]
    foreign = [path for path in different if is_foreign(folder / path, written.get(path))]

    if foreign and not force:
        raise UsageError(
            f"{folder} has files that are not ours, or were changed: {', '.join(foreign)}.",
            help_text="Give another folder, or --force to overwrite them.",
        )

    try:
        for path in different:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(texts[path].encode())

        (folder / "prometheus" / "targets").mkdir(parents=True, exist_ok=True)
        note = {path: digest(text.encode()) for path, text in sorted(texts.items())}
        (folder / NOTE).write_bytes(msgspec.json.format(msgspec.json.encode(note)) + b"\n")
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} cannot be written: {error.strerror}."
        ) from error

    return different


def noted(folder: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / NOTE).read_bytes(), type=dict[str, str])

    return {}


def current(path: Path) -> bytes | None:
    """Return what the file holds, or None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def is_foreign(path: Path, written: str | None) -> bool:
    content = current(path)
    return content is not None and digest(content) != written


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
