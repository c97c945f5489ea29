"""One of the two things that are compared: a run at a moment, and what was seen of it before."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.differences import SideSummary
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Record, Snapshot, Worker

_STUCK: Final = ("hung", "degraded", "failed", "unknown")


class Side(Record, frozen=True, kw_only=True):
    """`snapshots` are in their order; the last one is compared, those before it tell its pace."""

    name: str
    """As the user typed it."""
    snapshots: tuple[Snapshot, ...]
    is_file: bool
    is_public: bool = False
    pseudonyms: str = ""
    """Names whose pseudonyms these are: equal on sides that have them in common, "" for none."""
    history: History | None = None
    left_out: tuple[str, ...] = ()
    """What is not in it because its names were replaced."""

    @property
    def last(self) -> Snapshot:
        return self.snapshots[-1]

    @property
    def is_stuck(self) -> bool:
        """Whether it means something where its ranks are at this moment."""
        return self.last.verdict.state in _STUCK

    def workers(self) -> dict[int, Worker]:
        return {worker.rank: worker for worker in self.last.workers if worker.rank is not None}

    def world_size(self) -> int:
        """Return how many ranks it has, those that are missing included."""
        sizes = [worker.world_size for worker in self.last.workers if worker.world_size]
        return max((*sizes, len(self.last.workers)))

    def summary(self) -> SideSummary:
        last = self.last
        steps = [worker.step for worker in last.workers if worker.step is not None]
        return SideSummary(
            name=self.name,
            is_file=self.is_file,
            public=self.is_public,
            job=last.job.label,
            run=last.run.name if last.run else None,
            taken_at=last.taken_at,
            after_s=last.taken_at - self.snapshots[0].taken_at,
            samples=len(self.snapshots),
            ranks=len(last.workers),
            step=max(steps, default=None),
            verdict=last.verdict,
        )
