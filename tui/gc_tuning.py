"""What Python itself does at times, arranged so that no key has to wait for it.

Its cycle collector goes through everything, for a third of a second with ten thousand ranks, and a
thread that wants a turn gets one after 5 ms, at every wait of the event loop.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Final

TURN_S: Final = 0.0005
QUIET_S: Final = 1.0
EVERY_S: Final = 10.0
MOST_S: Final = 60.0
"""However busy the keys are: Textual's widgets leave cycles behind."""


class GcTuning:
    """Runs the collector by hand, and gives turns sooner, from `hold` to `let_go`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ran_at = self._key_at = clock()
        self._was_on = False
        self._turn_s = 0.0

    def hold(self) -> None:
        """Switch the automatic rounds off; what has been loaded by now is never gone through."""
        self._was_on, self._turn_s = gc.isenabled(), sys.getswitchinterval()
        sys.setswitchinterval(min(TURN_S, self._turn_s))
        gc.freeze()
        gc.disable()

    def let_go(self) -> None:
        if self._turn_s:
            sys.setswitchinterval(self._turn_s)

        if self._was_on:
            gc.enable()
            gc.unfreeze()

    def key(self) -> None:
        """Note that somebody types."""
        self._key_at = self._clock()

    def since_key_s(self) -> float:
        return self._clock() - self._key_at

    def tick(self) -> bool:
        """Collect if it is time to; returns whether it was."""
        now = self._clock()
        rested_s = now - self._ran_at
        is_time = rested_s >= MOST_S or (rested_s >= EVERY_S and self.since_key_s() >= QUIET_S)

        if is_time:
            gc.collect()
            self._ran_at = self._clock()

        return is_time
