"""Let the process's own threads run (stdlib only, sent by value)."""

from __future__ import annotations

import time

_GAP_S = 0.0002
"""Long enough for a waiting thread to wake up and take the GIL; a sleep of 0 is not."""


def yield_gil() -> None:
    """Release the GIL for a moment, so that our reads never add up to a pause."""
    time.sleep(_GAP_S)
