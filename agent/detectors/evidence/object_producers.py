"""The job's own actors, which produce what a rank in `ray.get` waits for: whether one is at work."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.evidence.activity import Activity, between
from dsray_inspect.agent.model import Record


class Producer(Record, frozen=True, kw_only=True):
    """An actor, and what it did between two samples."""

    class_name: str
    pid: int
    activity: Activity

    @property
    def is_busy(self) -> bool:
        return not self.activity.is_still


def producers_of(sample: AnalysisInput) -> list[Producer]:
    """Return those that were seen in both samples, the busiest first."""
    if sample.earlier is None:
        return []

    before = sample.earlier.observation
    apart_s = sample.snapshot.taken_at - sample.earlier.snapshot.taken_at
    found = []

    for row in sample.observation.helpers:
        then, now = (
            observation.process(row.node_id, row.pid).counters
            for observation in (before, sample.observation)
        )
        activity = between(apart_s, (None, then), (None, now))

        if activity is not None:
            found.append(Producer(class_name=row.class_name, pid=row.pid, activity=activity))

    return sorted(found, key=lambda producer: -(producer.activity.process_share or 0.0))
