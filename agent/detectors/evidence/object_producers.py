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


def producers_of(facts: AnalysisInput) -> list[Producer]:
    """Return those that were seen in both samples, the busiest first."""
    if facts.earlier is None:
        return []

    before = facts.earlier.answers
    apart_s = facts.snapshot.taken_at - facts.earlier.snapshot.taken_at
    found = []

    for row in facts.answers.helpers:
        one, other = (
            answers.process(row.node_id, row.pid).get("progress", {})
            for answers in (before, facts.answers)
        )
        activity = between(apart_s, (None, one), (None, other))

        if activity is not None:
            found.append(Producer(class_name=row.class_name, pid=row.pid, activity=activity))

    return sorted(found, key=lambda one: -(one.activity.process_share or 0.0))
