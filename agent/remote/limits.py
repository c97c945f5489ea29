"""How much memory a process may have and has: its cgroup's, else the host's (stdlib only, sent by value)."""

from __future__ import annotations

import os
import re
from typing import Any

from dsray_inspect.agent.remote.threads import start_of

_ROOT = "/sys/fs/cgroup"
_NO_LIMIT = 1 << 50
_V1 = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
    "memory.oom_control",
)
_V2 = ("memory.max", "memory.current", "inactive_file", "memory.events")


def memory_limits(pid: int) -> dict[str, Any]:
    """Return limit and use in bytes, the number of OOM kills, and whose limit it is.

    What the page cache could give back at once does not count as used.
    """
    for folder, names in _cgroups(pid):
        limit, used = _value(f"{folder}/{names[0]}"), _value(f"{folder}/{names[1]}")

        if limit is not None and used is not None and limit < _NO_LIMIT:
            cache = _field(f"{folder}/memory.stat", names[2])
            return {
                "whose": folder,
                "limit_bytes": limit,
                "used_bytes": max(0, used - (cache or 0)),
                "oom_kills": _field(f"{folder}/{names[3]}", "oom_kill") or 0,
            }

    total, free = _field("/proc/meminfo", "MemTotal:"), _field("/proc/meminfo", "MemAvailable:")

    if total is None or free is None:
        return {}

    return {
        "whose": "host",
        "limit_bytes": total * 1024,
        "used_bytes": (total - free) * 1024,
        "oom_kills": _field("/proc/vmstat", "oom_kill") or 0,
    }


def _cgroups(pid: int) -> list[tuple[str, tuple[str, ...]]]:
    """Return the memory cgroups of a process, its own first, then those above it.

    Inside a container the path is often that of the host; there the mount's root is its own.
    """
    found: list[tuple[str, tuple[str, ...]]] = []

    for line in start_of(f"/proc/{pid}/cgroup").decode("utf-8", "replace").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")

        if "memory" in controllers.split(","):
            root, names = f"{_ROOT}/memory", _V1
        elif number == "0":
            root, names = _ROOT, _V2
        else:
            continue

        while True:
            folder = f"{root}{path}".rstrip("/")
            found.append((folder, names))

            if path in ("", "/"):
                break

            path = os.path.dirname(path)

    return found


def _value(path: str) -> int | None:
    text = start_of(path).strip()
    return _NO_LIMIT if text == b"max" else int(text) if text.isdigit() else None


def _field(path: str, name: str) -> int | None:
    """Return the number after a name in a file of one name a line."""
    found = re.search(rb"(?:\A|\n)" + re.escape(name.encode()) + rb"\s+(\d+)", start_of(path))
    return int(found[1]) if found else None
