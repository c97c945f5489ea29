"""Which torch extension locks the threads of this process wait for (stdlib only, sent by value).

`torch.utils.file_baton.FileBaton.wait` polls until a lock file is gone; a lock left behind
by a killed compiler is waited for without end.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from dsray_inspect.agent.compat.torch import (
    BATON_FILE,
    BATON_LOCK,
)
from dsray_inspect.agent.remote.threads import start_of, walk

_COMPILERS = frozenset(
    "ninja c++ cc g++ gcc cc1 cc1plus clang clang++ nvcc cicc ptxas cudafe++ fatbinary ld ld.gold "
    "collect2 as hipcc icpx".split()
)


def awaited_locks() -> list[dict[str, Any]]:
    """Return path and age (s, None when it is gone) of each lock that is waited for."""
    locks = []

    for frame in sys._current_frames().values():
        for inner in walk(frame):
            if inner.f_code.co_filename.endswith(BATON_FILE):
                path = getattr(inner.f_locals.get("self"), BATON_LOCK, None)

                if isinstance(path, str):
                    locks.append({"path": path, "age_s": _age_s(path)})

    builders = _compilers() if locks else 0
    return [{**lock, "builders": builders} for lock in locks]


def _compilers() -> int:
    """Return how many compilers run on this node, whoever started them."""
    names = (start_of(f"/proc/{entry}/comm") for entry in os.listdir("/proc") if entry.isdigit())
    return sum(is_compiler(name.decode("utf-8", "replace").strip()) for name in names)


def is_compiler(name: str) -> bool:
    return name in _COMPILERS or name.endswith(("-g++", "-gcc", "-c++"))


def _age_s(path: str) -> float | None:
    try:
        return max(0.0, time.time() - os.stat(path).st_mtime)
    except OSError:
        return None
