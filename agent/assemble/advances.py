"""The newest sign of progress of each rank, kept from one sample of a session to the next.

A rank that runs is not asked for its flight recorder in every sample, and a step that takes longer
than samples are apart shows in some of them only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.model import OK, Record, Worker

ProcessKey = tuple[str, int]
"""The actor id and the pid of a rank: a restarted rank begins anew."""
Arrival = tuple[int, int]
"""The number of a collective, and when a rank came to it, Unix ns."""
WINDOW_NS = 12_000_000_000
"""Arrivals are kept for so long over several samples."""


class Advance(Record, frozen=True, kw_only=True):
    """What a rank has last been seen to do. Times are Unix seconds of the sampling machine."""

    step: int | None = None
    """The engine's step in the newest sample that knows it."""
    step_at: float | None = None
    """When the step was seen to have changed, None where it never was."""
    entered_at: float | None = None
    """When the rank entered its newest collective."""
    recorder_at: float | None = None
    """When its flight recorder was last read, None where it never was."""
    longest_gap_s: float | None = None
    arrivals: Mapping[str, Sequence[Arrival]] = {}

    @property
    def at(self) -> float | None:
        """When the rank last made progress, None where nothing shows that it ever did."""
        return max((at for at in (self.step_at, self.entered_at) if at is not None), default=None)


NONE_SEEN = Advance()


def key_of(worker: Worker) -> ProcessKey:
    return worker.actor_id, worker.pid


def advances_of(
    members: Iterable[RankContext], known: Mapping[ProcessKey, Advance], taken_at: float
) -> dict[ProcessKey, Advance]:
    """Return the advance of each rank, from this sample and what was known before it."""
    return {
        key_of(member.worker): _advance(
            member, known.get(key_of(member.worker), NONE_SEEN), taken_at
        )
        for member in members
    }


def _advance(member: RankContext, before: Advance, taken_at: float) -> Advance:
    worker = member.worker
    has_moved = None not in (before.step, worker.step) and worker.step != before.step
    step_at = taken_at if has_moved else before.step_at
    step = worker.step if worker.step is not None else before.step

    if worker.evidence.collectives != OK:
        return Advance(
            step=step,
            step_at=step_at,
            entered_at=before.entered_at,
            recorder_at=before.recorder_at,
            longest_gap_s=before.longest_gap_s,
            arrivals=before.arrivals,
        )

    age_s = member.newest_age_s
    return Advance(
        step=step,
        step_at=step_at,
        entered_at=before.entered_at if age_s is None else taken_at - age_s,
        recorder_at=taken_at,
        longest_gap_s=worker.longest_gap_s,
        arrivals={
            group: _continued(before.arrivals.get(group, ()), newer)
            for group, newer in member.arrivals.items()
        },
    )


def _continued(older: Sequence[Arrival], newer: Sequence[Arrival]) -> Sequence[Arrival]:
    """Return the arrivals, continued into the past where a full recorder tells of a moment only."""
    if not newer or not older or newer[-1][1] - newer[0][1] >= WINDOW_NS:
        return newer

    earliest_ns = newer[-1][1] - WINDOW_NS
    return [
        *(arrival for arrival in older if arrival[0] < newer[0][0] and arrival[1] >= earliest_ns),
        *newer,
    ]
