"""The newest snapshot, shared by the sampling thread and the threads that answer scrapes."""

from __future__ import annotations

import threading

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.exporters.run_counters import RunCounters
from dsray_inspect.exporters.samples import MetricSample, metric_samples


class LatestSample:
    """The newest snapshot of the watched run and its counters; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._counters = RunCounters()
        self.samples_taken = 0
        self.failures = 0

    @property
    def snapshot(self) -> Snapshot | None:
        return self._snapshot

    def put(self, snapshot: Snapshot) -> None:
        """Publish a new snapshot."""
        with self._lock:
            if not self._counters.is_of(snapshot):
                self._counters = RunCounters()

            self._counters.add(snapshot)
            self._snapshot = snapshot
            self.samples_taken += 1

    def note_failure(self) -> None:
        """Count a failed sample; the last snapshot stays, with its own time."""
        with self._lock:
            self._counters.skip()
            self.failures += 1

    def clear(self) -> None:
        """Forget the run, before another one or none is watched."""
        with self._lock:
            self._snapshot, self._counters = None, RunCounters()

    def metric_samples(self) -> list[MetricSample]:
        """Return the values of all metrics, of one snapshot; none while there is no run."""
        with self._lock:
            return list(metric_samples(self._snapshot, self._counters)) if self._snapshot else []
