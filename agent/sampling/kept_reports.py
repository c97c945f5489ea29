"""What was last read of each rank, which holds for as long as none of its Python threads has run.

A call into a rank costs milliseconds of CPU, its own and ours, and py-spy ten times that; reading from
outside that its threads have not run since costs a fraction of it. So ranks that hang are left alone
while they are watched.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dsray_inspect.agent.remote.worker import IDLE_S
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.sampling.process_probe import ProcessProbe, StackDump
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import Unavailable

LONGEST_S = 10.0
"""A rank is read again after so long. Native threads are not watched: some of torch's mark a
collective as finished before a Python thread hears of it."""


class KeptReport(NamedTuple):
    """What a rank has reported of itself, or why it did not, and what its node has of it."""

    report: RankReport | Unavailable
    probe: ProcessProbe
    ran_s: Mapping[int, float]
    """By thread id: for how long the Python threads had run. The rest rests on them."""
    request: SampleRequest
    read_at: float
    """By the monotonic clock."""

    def older(self) -> KeptReport:
        by_s = time.monotonic() - self.read_at
        report = self.report.older(by_s) if isinstance(self.report, RankReport) else self.report
        return self._replace(report=report, probe=self.probe.older(by_s))


class KeptReports:
    """What was last read of each rank, by actor id."""

    def __init__(self) -> None:
        self._kept: dict[str, KeptReport] = {}

    def keep(
        self,
        actor_id: str,
        report: RankReport | Unavailable,
        probe: ProcessProbe,
        request: SampleRequest,
    ) -> None:
        """Keep what was just read of a rank, if its threads' times can tell whether it holds."""
        self._kept.pop(actor_id, None)
        ran_s = _resting(report, probe)

        if ran_s is not None:
            self._kept[actor_id] = KeptReport(report, probe, ran_s, request, time.monotonic())

    def watched(self, actor_id: str, request: SampleRequest) -> list[int]:
        """Return the threads that must not have run for it to hold; none if it cannot."""
        kept = self._kept.get(actor_id)

        if kept is None or kept.request != request or request.from_outside or request.start:
            return []

        return list(kept.ran_s) if time.monotonic() - kept.read_at <= LONGEST_S else []

    def holding(self, actor_id: str, run_times_s: Sequence[float | None]) -> KeptReport | None:
        """Return what is kept, grown older, unless one of the threads it rests on has run since.

        `run_times_s`: the CPU seconds of the threads that `watched` named.
        """
        kept = self._kept.get(actor_id)

        if kept is None or list(run_times_s) != list(kept.ran_s.values()):
            return None

        return kept.older()


def _resting(report: RankReport | Unavailable, probe: ProcessProbe) -> Mapping[int, float] | None:
    """Return how long each Python thread of a rank has run, if nothing but them can change it.

    A rank that ran a moment ago has left out what would have stopped it, and may tell it now.
    """
    if isinstance(report, RankReport):
        threads = report.threads
        others: list[Sequence[Any]] = [report.failed, report.locks]
        times = {thread.tid: (thread.ran_s, thread.idle_s) for thread in threads}
    elif report.reason != "died" and isinstance(probe.stack, StackDump):
        threads, others = probe.stack.threads, []
        times = {thread.tid: _times_outside(thread, probe) for thread in threads}
    else:
        return None

    for counters in (probe.counters, report.counters if isinstance(report, RankReport) else None):
        if counters is not None:
            others += [counters.children, counters.dials, counters.file_locks]

    ran_s = {
        tid: ran_s
        for tid, (ran_s, idle_s) in times.items()
        if tid is not None and ran_s is not None and idle_s is not None and idle_s >= IDLE_S
    }
    return ran_s if ran_s and len(ran_s) == len(threads) and not any(others) else None


def _times_outside(thread: Thread, probe: ProcessProbe) -> tuple[float | None, float | None]:
    """Return how long a thread has run and been idle; both were read before its stack."""
    tid = thread.tid if thread.tid is not None else 0
    ran_s, _ = probe.cpu_times_s.get(tid, (None, None))
    return ran_s, probe.idle_s.get(tid)
