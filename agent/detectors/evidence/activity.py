"""What a process did between two samples: whether it is idle, computes, or moves bytes."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.sampling.process_probe import ActivityCounters
from dsray_inspect.agent.stacks.thread import Thread

LEAST_APART_S = 0.3
STILL_THREAD = 0.05
STILL_PROCESS = 0.25
"""Shares of one core: Ray's own threads in a worker need about 0.03."""
NEVER_FREE = 0.05
"""A thread that queues for a CPU for all but this share of the time is busy, however little it ran."""
STILL_BYTES = 1 << 20
"""Bytes a second."""
AT_WORK = 0.15
"""The share of a core from which on a training thread is taken to compute; a loop that asks for
something every few milliseconds needs less."""


Doing = tuple[Thread | None, ActivityCounters | None]
"""A thread and the activity counters of its process."""


class Activity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Shares are of one core, 0 to 1 and above for several threads; None where not known.

    `queue_share` is the part of the time in which the training thread was ready to run and got no
    CPU: on a crowded machine a busy thread runs little and yet is not idle.
    """

    apart_s: float
    thread_share: float | None
    queue_share: float
    process_share: float | None
    children_share: float
    bytes_a_second: float

    @property
    def is_still(self) -> bool:
        """Whether neither the thread nor its process or children did anything to speak of."""
        return (
            _demand(self.thread_share or 0.0, self.queue_share) < STILL_THREAD
            and (self.process_share or 0.0) < STILL_PROCESS
            and self.children_share < STILL_PROCESS
            and self.bytes_a_second < STILL_BYTES
        )

    @property
    def moves_bytes(self) -> bool:
        return self.bytes_a_second >= STILL_BYTES

    @property
    def is_at_work(self) -> bool:
        """Whether the thread, its process or its children compute, or much is read or written."""
        return (
            _demand(self.thread_share or 0.0, self.queue_share) >= AT_WORK
            or (self.process_share or 0.0) >= STILL_PROCESS
            or self.children_share >= STILL_PROCESS
            or self.moves_bytes
        )


def activity_of(sample: AnalysisInput, member: RankContext) -> Activity | None:
    """Return what a rank did since the last sample, None where it was not seen in both."""
    before = before_of(sample, member)

    if sample.earlier is None or before is None:
        return None

    return between(
        sample.snapshot.taken_at - sample.earlier.snapshot.taken_at,
        (before.training, before.counters),
        (member.training, member.counters),
    )


def before_of(sample: AnalysisInput, member: RankContext) -> RankContext | None:
    """Return the same process of the rank in the sample before, None where it was not there."""
    if sample.earlier is None:
        return None

    return sample.earlier.view(_by_process).get((member.worker.actor_id, member.worker.pid))


def _by_process(sample: AnalysisInput) -> dict[tuple[str, int], RankContext]:
    """Return the ranks of a sample by actor id and pid."""
    return {(member.worker.actor_id, member.worker.pid): member for member in sample.members}


def between(apart_s: float, before: Doing, now: Doing) -> Activity | None:
    """Compare two samples of a thread and its process; None where they are too close or one is blind."""
    (thread_before, before_it), (thread_now, now_it) = before, now

    if apart_s < LEAST_APART_S or before_it is None or now_it is None:
        return None

    return Activity(
        apart_s=apart_s,
        thread_share=_share(thread_before, thread_now, apart_s),
        queue_share=_queue_share(thread_before, thread_now, apart_s),
        process_share=max(0.0, now_it.cpu_s - before_it.cpu_s) / apart_s,
        children_share=_children_share(before_it, now_it, apart_s),
        bytes_a_second=max(0, now_it.moved_bytes - before_it.moved_bytes) / apart_s,
    )


def _share(before: Thread | None, now: Thread | None, apart_s: float) -> float | None:
    """Return the share of a core that a thread had."""
    if before is None or now is None or before.ran_s is None or now.ran_s is None:
        return None

    return max(0.0, now.ran_s - before.ran_s) / apart_s


def _queue_share(before: Thread | None, now: Thread | None, apart_s: float) -> float:
    """Return the part of the time that a thread queued for a CPU, 0 where that is not known."""
    if before is None or now is None or before.run_delay_s is None or now.run_delay_s is None:
        return 0.0

    return min(1.0, max(0.0, now.run_delay_s - before.run_delay_s) / apart_s)


def _demand(had: float, queued: float) -> float:
    """Return the share of a core that a thread would have had on a machine of its own."""
    free = 1.0 - queued
    return min(1.0, had / free) if free > NEVER_FREE else 1.0


def _children_share(before: ActivityCounters, now: ActivityCounters, apart_s: float) -> float:
    known = {child.pid: child.cpu_s for child in before.children}
    ran = sum(max(0.0, child.cpu_s - known.get(child.pid, 0.0)) for child in now.children)
    return ran / apart_s
