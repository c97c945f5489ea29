"""The incident files that may be opened: those the user named, and those below folders they named.

An agent gives a path as text, and whoever wrote into the folder may have put a link there. So each
part of a path is opened from the folder down, without following a link, and what was opened is
what is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from dsray_inspect.agent.errors import TargetNotFound, UsageError
from dsray_inspect.agent.incident.layout import SUFFIX

_HOW_TO_LIST: Final = "list_jobs names the files that may be opened."
_MOST_ENTRIES: Final = 10_000
"""So many entries of a folder are looked at."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FoundFile(NamedTuple):
    """A file that may be opened, as an agent names it."""

    name: str
    bytes: int
    written_at: float


class IncidentFiles:
    """What the user lets agents open."""

    def __init__(self, files: Sequence[Path], folders: Sequence[Path]) -> None:
        """Take the user's own words, which may be links.

        Raises:
            UsageError: One of them is not there.
        """
        self._files = {str(path): _real(path, is_folder=False) for path in files}
        self._folders = tuple(_real(path, is_folder=True) for path in folders)

    @property
    def are_any(self) -> bool:
        return bool(self._files or self._folders)

    def found(self) -> list[FoundFile]:
        """Return the files, the newest first."""
        named = (_listed(path, name) for name, path in self._files.items())
        below = (file for folder in self._folders for file in _below(folder))
        found = {file.name: file for file in (*named, *below) if file is not None}
        return sorted(found.values(), key=lambda file: -file.written_at)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Open a file, and give a path that leads to it and to nothing else meanwhile.

        Raises:
            UsageError: It is none of the files that may be opened.
            TargetNotFound: There is no such file.
        """
        descriptor = self._open(name)

        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"{name} is no file.", help_text=_HOW_TO_LIST)

            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        if "\0" in name:
            raise _refused(name)

        named = self._files.get(name)

        try:
            if named is not None:
                return os.open(named, _FILE)

            folder, parts = self._place(name)
            return _open_below(folder, parts)
        except FileNotFoundError as error:
            raise TargetNotFound(f"There is no file {name}.", help_text=_HOW_TO_LIST) from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):  # a link on the way
                raise _refused(name) from error

            raise UsageError(
                f"{name} cannot be opened: {error.strerror}.", help_text=_HOW_TO_LIST
            ) from error

    def _place(self, name: str) -> tuple[Path, tuple[str, ...]]:
        """Return the folder that a path is below, and the way from there.

        Raises:
            UsageError: It is below none.
        """
        path = Path(name)

        if ".." in path.parts or path.suffix != SUFFIX or not self._folders:
            raise _refused(name)

        if not path.is_absolute():
            holding = (folder for folder in self._folders if (folder / path).is_file())
            return next(holding, self._folders[0]), path.parts

        for folder in self._folders:
            if path.is_relative_to(folder):
                return folder, path.relative_to(folder).parts

        raise _refused(name)


def _refused(name: str) -> UsageError:
    """Say the same of each path outside, whether there is something or not."""
    return UsageError(
        f"{name} may not be opened: it is no {SUFFIX} file below a folder given by --incidents, nor "
        "one named when the server was started.",
        help_text=_HOW_TO_LIST,
    )


def _real(path: Path, *, is_folder: bool) -> Path:
    try:
        real = path.resolve(strict=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be opened: {error.strerror}.", help_text="Name what is there."
        ) from error

    if real.is_dir() != is_folder:
        what = "no folder" if is_folder else "a folder"
        raise UsageError(
            f"{path} is {what}.", help_text="dsray-inspect mcp FILE.dsray --incidents DIR"
        )

    return real


def _open_below(folder: Path, parts: Sequence[str]) -> int:
    """Open a file from a folder down, without following any link."""
    above = os.open(folder, _FOLDER)

    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER, dir_fd=above)
            os.close(above)
            above = below

        return os.open(parts[-1], _FILE, dir_fd=above)
    finally:
        os.close(above)


def _below(folder: Path) -> Iterator[FoundFile | None]:
    entries = 0

    for at, folders, files in os.walk(folder):
        entries += len(files) + len(folders)

        for name in files:
            path = Path(at, name)

            if path.suffix == SUFFIX:
                yield _listed(path, str(path.relative_to(folder)))

        if entries > _MOST_ENTRIES:
            return


def _listed(path: Path, name: str) -> FoundFile | None:
    """Return a file as it is listed, None for anything else and for what is gone by now."""
    try:
        status = path.lstat()
    except OSError:
        return None

    if not stat.S_ISREG(status.st_mode):
        return None

    return FoundFile(name, status.st_size, status.st_mtime)
