"""The newest report of each rank, which holds for as long as none of its Python threads has run.

A call into a rank costs milliseconds of CPU, its own and ours; reading from outside that its threads
have not run since costs a fraction of that. So ranks that hang are left alone while they are watched.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from dsray_inspect.agent.remote.worker import IDLE_S
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.sampling.process_probe import ProcessProbe
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.unavailable import Unavailable

LONGEST_S = 10.0
"""A rank is asked again after so long. Native threads are not watched: some of torch's mark a
collective as finished before a Python thread hears of it."""


class KeptReport(NamedTuple):
    """What a rank has reported of itself, and its node of it."""

    report: RankReport
    probe: ProcessProbe
    request: SampleRequest
    read_at: float
    """By the monotonic clock."""

    def older(self) -> KeptReport:
        return self._replace(report=self.report.older(time.monotonic() - self.read_at))


class KeptReports:
    """The newest report of each rank, by actor id."""

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

        if isinstance(report, RankReport) and _rests_on_threads(report):
            self._kept[actor_id] = KeptReport(report, probe, request, time.monotonic())

    def watched(self, actor_id: str, request: SampleRequest) -> list[int]:
        """Return the threads that must not have run for a rank's report to hold; none if it cannot."""
        kept = self._kept.get(actor_id)

        if kept is None or kept.request != request or request.from_outside or request.start:
            return []

        if time.monotonic() - kept.read_at > LONGEST_S:
            return []

        return [thread.tid for thread in kept.report.threads if thread.tid is not None]

    def holding(self, actor_id: str, run_times_s: Sequence[float | None]) -> KeptReport | None:
        """Return what is kept, grown older, unless one of the threads it rests on has run since.

        `run_times_s`: the CPU seconds of the threads that `watched` named.
        """
        kept = self._kept.get(actor_id)

        if kept is None or list(run_times_s) != [thread.ran_s for thread in kept.report.threads]:
            return None

        return kept.older()


def _rests_on_threads(report: RankReport) -> bool:
    """Return whether nothing in a report can change while none of its threads runs.

    A rank that ran a moment ago has left out what would have stopped it, and may tell it now.
    """
    counters = report.counters
    others: list[Sequence[Any]] = [report.failed, report.locks]

    if counters is not None:
        others += [counters.children, counters.dials, counters.file_locks]

    are_idle = all(
        thread.tid is not None
        and thread.ran_s is not None
        and thread.idle_s is not None
        and thread.idle_s >= IDLE_S
        for thread in report.threads
    )
    return bool(report.threads) and are_idle and not any(others)
