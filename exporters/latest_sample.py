"""The newest look, between the thread that takes looks and those that answer scrapes."""

from __future__ import annotations

import threading

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.exporters.run_counters import RunCounters
from dsray_inspect.exporters.samples import Sample, samples_of


class LatestSample:
    """What is known of the run that is watched now; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._tally = RunCounters()
        self.looks = 0
        self.failures = 0

    @property
    def snapshot(self) -> Snapshot | None:
        return self._snapshot

    def seen(self, snapshot: Snapshot) -> None:
        """Put up a new look."""
        with self._lock:
            if not self._tally.is_of(snapshot):
                self._tally = RunCounters()

            self._tally.add(snapshot)
            self._snapshot = snapshot
            self.looks += 1

    def failed(self) -> None:
        """Note that a look failed; what was seen last stays, with its time."""
        with self._lock:
            self._tally.skip()
            self.failures += 1

    def clear(self) -> None:
        """Take the run down, before another one or none is watched."""
        with self._lock:
            self._snapshot, self._tally = None, RunCounters()

    def samples(self) -> list[Sample]:
        """Return the run's samples, all of one look; none while there is no run."""
        with self._lock:
            return list(samples_of(self._snapshot, self._tally)) if self._snapshot else []
