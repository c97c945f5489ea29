"""Lines of the user's source, where the file is that of this very machine."""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import Final

AROUND: Final = 2
MOST_BYTES: Final = 2 << 20


def around(file: str, line: int, hostname: str) -> list[tuple[int, str]]:
    """Return lines with their numbers; nothing when the rank is on another host.

    The same path elsewhere may be another file, and a wrong line is worse than none.
    """
    if hostname != socket.gethostname() or line <= 0:
        return []

    lines = read(file)

    if line > len(lines):
        return []

    first, last = max(1, line - AROUND), min(len(lines), line + AROUND)
    return [(number, lines[number - 1]) for number in range(first, last + 1)]


@functools.lru_cache(maxsize=16)
def read(file: str) -> tuple[str, ...]:
    try:
        path = Path(file)

        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return ()

        return tuple(path.read_text(errors="replace").expandtabs(4).splitlines())
    except OSError:
        return ()
