"""The demo's folders: a temporary one, and a cache of compiled operators that is kept."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

_PREFIX = "dsray-demo-"
_MAX_BASE = 40
"""Ray adds up to 64 characters for its sockets, and a socket's path has at most 107."""


class Folder:
    """A new folder, locked while this process lives; the next demo removes those of dead ones."""

    def __init__(self) -> None:
        base = tempfile.gettempdir()
        base = base if len(base) <= _MAX_BASE - len(_PREFIX) - 8 else "/tmp"
        _remove_abandoned(Path(base))
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = _lock(self.path / ".held")

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

        if self._lock is not None:
            self._lock.close()


def _lock(path: Path, *, shared: bool = False) -> TextIO | None:
    """Return the file, locked until it is closed; None if another process has locked it."""
    file = path.open("a")

    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None

    return file


def _remove_abandoned(base: Path) -> None:
    """Remove the folders of demos that were killed."""
    for path in base.glob(f"{_PREFIX}*/.held"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == os.getuid() and (lock := _lock(path)):
                shutil.rmtree(path.parent, ignore_errors=True)
                lock.close()


class OpCache:
    """The cache of DeepSpeed's compiled operators, so that a second demo starts quickly."""

    def __init__(self) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        name = "py{}{}-torch{}-deepspeed{}".format(
            *sys.version_info[:2], version("torch"), version("deepspeed")
        )
        self.path = Path(base).expanduser() / "dsray-inspect" / "torch_extensions" / name
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock: TextIO | None = None

    def open(self) -> None:
        """Lock the cache, and remove compilation locks of killed processes, which would block forever."""
        held = self.path / ".held"

        if exclusive := _lock(held):
            for lock in self.path.glob("*/lock"):
                lock.unlink()

            exclusive.close()

        self._lock = _lock(held, shared=True)

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def compiling(self) -> str | None:
        """Return the name of the operator being compiled, if any."""
        return next((lock.parent.name for lock in self.path.glob("*/lock")), None)
