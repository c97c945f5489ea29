"""Writes generated files to a user's folder without silently overwriting the user's changes."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Final

import msgspec

from dsray_inspect.agent.errors import UsageError

_NOTE: Final = ".dsray-inspect.json"
"""Digests of the files as written; a file with another digest was changed by somebody else."""


def write(folder: Path, texts: dict[str, str], *, force: bool) -> list[str]:
    """Write files below a folder and return the paths of those that changed.

    Raises:
        UsageError: A file was changed by somebody else and `force` is not set, or cannot be written.
    """
    digests = _noted_digests(folder)
    different = [path for path, text in texts.items() if _content(folder / path) != text.encode()]
    foreign = [path for path in different if _is_foreign(folder / path, digests.get(path))]

    if foreign and not force:
        raise UsageError(
            f"{folder} has files that dsray-inspect did not write, or that were changed: {', '.join(foreign)}.",
            help_text="Choose another folder, or use --force to overwrite them.",
        )

    try:
        for path in different:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(texts[path].encode())

        (folder / "prometheus" / "targets").mkdir(parents=True, exist_ok=True)
        note = {path: _digest(text.encode()) for path, text in sorted(texts.items())}
        (folder / _NOTE).write_bytes(msgspec.json.format(msgspec.json.encode(note)) + b"\n")
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} cannot be written: {error.strerror}."
        ) from error

    return different


def _noted_digests(folder: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / _NOTE).read_bytes(), type=dict[str, str])

    return {}


def _content(path: Path) -> bytes | None:
    """Return the content of a file, None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _is_foreign(path: Path, noted: str | None) -> bool:
    content = _content(path)
    return content is not None and _digest(content) != noted


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
