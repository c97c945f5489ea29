"""Lines of the user's source code, when the file is on this machine."""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import Final

_CONTEXT_LINES: Final = 2
_MAX_BYTES: Final = 2 << 20


def lines_around(file: str, line: int, hostname: str) -> list[tuple[int, str]]:
    """Return the numbered lines around a line; none when the rank runs on another host.

    The same path on another host may be a different file, and a wrong line is worse than none.
    """
    if hostname != socket.gethostname() or line <= 0:
        return []

    lines = _read_lines(file)

    if line > len(lines):
        return []

    first, last = max(1, line - _CONTEXT_LINES), min(len(lines), line + _CONTEXT_LINES)
    return [(number, lines[number - 1]) for number in range(first, last + 1)]


@functools.lru_cache(maxsize=16)
def _read_lines(file: str) -> tuple[str, ...]:
    try:
        path = Path(file)

        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return ()

        return tuple(path.read_text(errors="replace").expandtabs(4).splitlines())
    except OSError:
        return ()
