"""Ports that no other test run takes."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket

BLOCK = 16
BLOCKS = range(20_000, 32_000, BLOCK)  # below Linux's own range for outgoing connections


class Ports:
    """A block of ports that no other test run takes: its first port is bound while we live."""

    def __init__(self) -> None:
        self._anchor, self._first = self._claim()
        self._given = itertools.count(self._first + 1)

    @staticmethod
    def _claim() -> tuple[socket.socket, int]:
        for first in random.sample(BLOCKS, len(BLOCKS)):
            with contextlib.ExitStack() as stack:
                try:
                    held = [stack.enter_context(_bound(first + i)) for i in range(BLOCK)]
                except OSError:
                    continue
                return socket.socket(fileno=held[0].detach()), first
        raise RuntimeError("no block of free ports")

    def next(self) -> int:
        """Return another port of the block."""
        port = next(self._given)
        assert port < self._first + BLOCK, "the block of ports is used up"
        return port

    def release(self) -> None:
        """Let others take the block."""
        self._anchor.close()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    try:
        bound.bind(("0.0.0.0", port))
    except OSError:
        bound.close()
        raise
    return bound
