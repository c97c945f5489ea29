"""The job's own actors, which make what a rank in `ray.get` waits for: whether one is at work."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.evidence.activity import Activity, between


class Producer(msgspec.Struct, frozen=True, kw_only=True):
    """An actor, and what it did between two looks."""

    name: str
    motion: Activity

    @property
    def is_busy(self) -> bool:
        return not self.motion.is_still

    @property
    def text(self) -> str:
        return f"{self.name}: {self.motion.text()}"


def makers_of(facts: AnalysisInput) -> list[Producer]:
    """Return those that were seen in both looks, the busiest first."""
    if facts.earlier is None:
        return []

    before = facts.earlier.observation
    apart_s = facts.snapshot.taken_at - facts.earlier.snapshot.taken_at
    found = []

    for row in facts.observation.helpers:
        one, other = (
            observation.process(row.node_id, row.pid).counters
            for observation in (before, facts.observation)
        )
        motion = between(apart_s, (None, one), (None, other))

        if motion is not None:
            found.append(Producer(name=f"actor {row.class_name}, pid {row.pid}", motion=motion))

    return sorted(found, key=lambda one: -(one.motion.process_share or 0.0))
