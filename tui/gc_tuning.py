"""Settings of the Python runtime that keep the screen responsive.

With ten thousand ranks a full garbage collection takes a third of a second, and by default a thread
waits 5 ms for the GIL at every turn of the event loop.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Final

SWITCH_INTERVAL_S: Final = 0.0005
QUIET_S: Final = 1.0
"""A collection waits until no key has been pressed for this long."""
COLLECT_EVERY_S: Final = 10.0
COLLECT_AT_LATEST_S: Final = 60.0
"""Even while keys are pressed: Textual's widgets leave reference cycles behind."""


class GcTuning:
    """Collects garbage on `tick` instead of automatically, and switches threads sooner."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._collected_at = self._key_at = clock()
        self._was_enabled = False
        self._switch_interval_s = 0.0

    def install(self) -> None:
        """Turn automatic collection off, and exempt everything loaded so far from it."""
        self._was_enabled, self._switch_interval_s = gc.isenabled(), sys.getswitchinterval()
        sys.setswitchinterval(min(SWITCH_INTERVAL_S, self._switch_interval_s))
        gc.freeze()
        gc.disable()

    def uninstall(self) -> None:
        if self._switch_interval_s:
            sys.setswitchinterval(self._switch_interval_s)

        if self._was_enabled:
            gc.enable()
            gc.unfreeze()

    def note_key(self) -> None:
        self._key_at = self._clock()

    def since_key_s(self) -> float:
        return self._clock() - self._key_at

    def tick(self) -> bool:
        """Collect garbage if it is due; returns whether it was."""
        since_s = self._clock() - self._collected_at
        is_quiet = self.since_key_s() >= QUIET_S
        is_due = since_s >= COLLECT_AT_LATEST_S or (since_s >= COLLECT_EVERY_S and is_quiet)

        if is_due:
            gc.collect()
            self._collected_at = self._clock()

        return is_due
