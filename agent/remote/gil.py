"""Give way to the process's own threads (stdlib only, sent by value)."""

from __future__ import annotations

import time

GAP_S = 0.0002
"""Time enough for a waiting thread to wake up and take the GIL; a sleep of 0 is not."""


def give_way() -> None:
    """Let go of the GIL for a moment, so that no read of ours adds up to a pause."""
    time.sleep(GAP_S)
