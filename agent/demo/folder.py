"""The demo's folders: one of its own that goes with it, and a cache that stays."""

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

PREFIX = "dsray-demo-"
MAX_BASE = 40
"""Ray's sockets lie 64 characters below, and a socket's path has at most 107."""


class Folder:
    """A new folder that is held as long as we live; a dead demo's is removed by the next one."""

    def __init__(self) -> None:
        base = tempfile.gettempdir()
        base = base if len(base) <= MAX_BASE - len(PREFIX) - 8 else "/tmp"
        remove_abandoned(Path(base))
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._lock = hold(self.path / ".held")

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

        if self._lock is not None:
            self._lock.close()


def hold(path: Path, *, shared: bool = False) -> TextIO | None:
    """Return the file, locked until it is closed; None when another process holds it."""
    file = path.open("a")

    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None

    return file


def remove_abandoned(base: Path) -> None:
    """Remove the folders of demos that were killed before they could."""
    for path in base.glob(f"{PREFIX}*/.held"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == os.getuid() and (lock := hold(path)):
                shutil.rmtree(path.parent, ignore_errors=True)
                lock.close()


class OpCache:
    """Where DeepSpeed's compiled operators stay, so that the second demo starts quickly."""

    def __init__(self) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        name = "py{}{}-torch{}-deepspeed{}".format(
            *sys.version_info[:2], version("torch"), version("deepspeed")
        )
        self.path = Path(base).expanduser() / "dsray-inspect" / "torch_extensions" / name
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock: TextIO | None = None

    def open(self) -> None:
        """Hold the cache. A lock that a killed compilation left is removed: it would never end."""
        held = self.path / ".held"

        if alone := hold(held):
            for lock in self.path.glob("*/lock"):
                lock.unlink()

            alone.close()

        self._lock = hold(held, shared=True)

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def compiling(self) -> str | None:
        """Return the name of the operator that is being compiled right now."""
        return next((lock.parent.name for lock in self.path.glob("*/lock")), None)
