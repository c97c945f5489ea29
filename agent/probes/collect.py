"""Reads the rings of a node's ranks and renews their leases (stdlib only, sent by value).

The same class runs in the attaching process, for rings it can open, and as an actor on every other
node.
"""

from __future__ import annotations

import glob
import os
import socket
import time
from typing import Any

from dsray_inspect.agent.probes.leases import clear, hold, is_held
from dsray_inspect.agent.probes.ring import Reader, RingUnreadable
from dsray_inspect.agent.probes.wire import (
    CLOSED,
    FOLDER,
    PREFIX,
    W_CLOCK_NS,
    W_MAIN_THREAD,
    W_STATE,
    W_WALL_NS,
)


class Collector:
    """Keeps the rings of this node open, so they stay readable after their rank removed them or died."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader] = {}

    def collect(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the new records of each ring, by path.

        `request`: `until` (Unix seconds), `token`, `lease_s` (0 releases the lease), `rings` (paths)
        and `last`: whether to close them and to remove rings without an owner.
        """
        if time.time() > request["until"]:
            return {"late": True}

        answers: dict[str, Any] = {}

        for path in request["rings"]:
            try:
                answers[path] = self._read(path, request)
            except (OSError, RingUnreadable) as error:
                answers[path] = {"why": f"{type(error).__name__}: {error}"}

        if request["last"]:
            self.close()
            sweep()

        return {"rings": answers, "hostname": socket.gethostname()}

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()

        self._readers.clear()

    def _read(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        reader = self._readers.get(path)

        if reader is None:
            reader = self._readers[path] = Reader(path)

            if request["joined"].get(path):
                reader.skip_all()

        _renew(reader.header, request["token"], request["lease_s"])
        return {
            "records": reader.read(),
            "dropped": reader.dropped,
            "open": reader.open_spans(),
            "alive": reader.writer_lives(),
            "closed": reader.header[W_STATE] == CLOSED,
            "wall_ns": reader.header[W_WALL_NS],
            "clock_ns": reader.header[W_CLOCK_NS],
            "main_thread": reader.header[W_MAIN_THREAD],
        }


def _renew(words: memoryview, token: int, lease_s: float) -> None:
    now_ns = time.monotonic_ns()

    if lease_s > 0:
        hold(words, token, now_ns + int(lease_s * 1e9), now_ns)
    else:
        clear(words, token)


def sweep(folder: str = FOLDER) -> list[str]:
    """Remove the rings of dead processes that no session holds; return their paths."""
    removed = []

    for path in glob.glob(os.path.join(glob.escape(folder), PREFIX + "*")):
        try:
            reader = Reader(path, any_version=True)
        except (OSError, ValueError, RingUnreadable):
            continue

        try:
            if not reader.writer_lives() and not is_held(reader.header, time.monotonic_ns()):
                os.unlink(path)
                removed.append(path)
        except OSError:
            pass
        finally:
            reader.close()

    return removed
