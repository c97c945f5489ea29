"""What a session knows of each rank from earlier samples, so that it need not be read again."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from dsray_inspect.agent.launchers.base import Part
from dsray_inspect.agent.model import DeepSpeed
from dsray_inspect.agent.probes.install import tidy
from dsray_inspect.agent.remote.flight_recorder import collectives
from dsray_inspect.agent.remote.startup_artifacts import keepsakes
from dsray_inspect.agent.remote.worker import counters, deepspeed, environment, process, step
from dsray_inspect.agent.sampling.kept_reports import KeptReports
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.process_probe import NOT_DUMPED, NOT_PROBED, Environ, StackDump
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.unavailable import Unavailable

SEARCH_S = 5.0
"""How soon an engine is searched for again that was not there: a search holds the rank's GIL."""
RECORDED = ("collectives", "groups", "newest_age_s", "longest_gap_s", "arrivals")
"""The fields of a report that come from the rank's flight recorder."""
DRIVER_S = 5.0
"""How old the driver's stack may be in a session that takes one sample after another."""


class SessionCache:
    """The engine, the step, the environment and the collectives of each rank, by actor id, and
    the stack of each driver.

    Finding the engine may stop a rank for a moment, redacting its variables and reading a full
    recorder take longer than the rest of a sample, and a py-spy for the driver longest of all;
    none of these changes from one sample of a hang to the next, as a rule.
    """

    def __init__(self) -> None:
        self._engines: dict[str, DeepSpeed] = {}
        self._environs: dict[str, tuple[int | None, Environ]] = {}
        self._searches: dict[str, tuple[float, Unavailable]] = {}
        """When an engine was searched for in vain, and what was said then."""
        self._steps: dict[str, tuple[int, float]] = {}
        self._recorders: dict[str, tuple[float, RankReport]] = {}
        """When a recorder was read by whose state it is known whether it must be read again."""
        self._drivers: dict[str, tuple[float, StackDump]] = {}
        self.reports = KeptReports()
        self.silent: frozenset[str] = frozenset()
        """The actors that did not answer in the last sample."""

    def parts(self, actor_id: str, request: SampleRequest) -> list[Part]:
        """Return what a rank is asked to read of itself."""
        search = self._search(actor_id)
        engine: Part = deepspeed if search is None and actor_id not in self._engines else step
        wanted = (
            (True, process),
            (request.counters, counters),
            (request.env, environment),
            (request.deepspeed, engine),
            (request.deepspeed, collectives),
            (request.start, keepsakes),
            (True, tidy),
        )
        return [part for is_wanted, part in wanted if is_wanted]

    def states(self, actor_id: str) -> dict[str, int | None]:
        """Return by what a rank's variables and collectives were known; see `remote.worker.process`."""
        environ, recorder = self._environs.get(actor_id), self._recorders.get(actor_id)
        return {
            "environment": environ[0] if environ else None,
            "recorder_state": recorder[1].recorder_state if recorder else None,
        }

    def needs_driver(self, job_id: str, request: SampleRequest) -> bool:
        """Return whether a job's driver must be dumped, or its stack is known from a moment ago."""
        known = self._drivers.get(job_id)
        return request.from_outside or known is None or time.monotonic() - known[0] > DRIVER_S

    def completed(self, actor_id: str, report: RankReport) -> RankReport:
        """Keep what a rank has read anew, and return its report with what was known before."""
        known: dict[str, Any] = {}

        if isinstance(report.deepspeed, DeepSpeed):
            self._engines[actor_id] = report.deepspeed
        elif report.deepspeed.reason != "not_asked":
            known["deepspeed"] = self._known_engine(actor_id, report.deepspeed)

            if report.step is None:
                known["step"] = self._kept_step(actor_id, report)
            else:
                self._searches.pop(actor_id, None)  # an engine is at work by now

        if report.step is not None:
            self._steps[actor_id] = (report.step, time.monotonic())

        if isinstance(report.environ, Environ):
            self._environs[actor_id] = (report.env_state, report.environ)
        elif report.environ.reason == "unchanged":
            known["environ"] = self._environs[actor_id][1]

        known |= self._kept_collectives(actor_id, report)
        return msgspec.structs.replace(report, **known) if known else report

    def _search(self, actor_id: str) -> Unavailable | None:
        """Return what was said when an engine was searched for a moment ago, in vain."""
        searched_at, why = self._searches.get(actor_id, (0.0, None))
        return why if time.monotonic() - searched_at < SEARCH_S else None

    def _known_engine(self, actor_id: str, why: Unavailable) -> DeepSpeed | Unavailable:
        """Return the engine as it was found before, else why there is none."""
        if actor_id in self._engines:
            return self._engines[actor_id]

        search = self._search(actor_id)

        if search is not None:
            return search

        self._searches[actor_id] = (time.monotonic(), why)
        return why

    def _kept_collectives(self, actor_id: str, report: RankReport) -> dict[str, Any]:
        """Keep the collectives that a rank has read; return those that it has not read again."""
        if isinstance(report.collectives, Unavailable):
            is_unchanged = report.collectives.reason == "unchanged"
            return self._known_collectives(actor_id) if is_unchanged else {}

        self._recorders.pop(actor_id, None)

        if report.recorder_state is not None:
            self._recorders[actor_id] = (time.monotonic(), report)

        return {}

    def _known_collectives(self, actor_id: str) -> dict[str, Any]:
        """Return what a recorder still holds, as fields of a report: the same, grown older."""
        read_at, report = self._recorders[actor_id]
        older = report.older(time.monotonic() - read_at)
        return {name: getattr(older, name) for name in RECORDED}

    def _kept_step(self, actor_id: str, report: RankReport) -> int | None:
        """Return the step that a rank is still at, as it has not run since that was read."""
        if actor_id not in self._steps:
            return None

        step, read_at = self._steps[actor_id]
        age_s = time.monotonic() - read_at
        idle_s = [thread.idle_s for thread in report.threads]
        return step if all(seconds is not None and seconds > age_s for seconds in idle_s) else None

    def complete_driver(self, observation: Observation) -> None:
        """Keep the driver's stack, or add the one that is known."""
        job, probe = observation.job, observation.driver

        if isinstance(probe.stack, StackDump):
            self._drivers[job.job_id] = (time.monotonic(), probe.stack)
        elif job.job_id in self._drivers and probe is not NOT_PROBED and probe.stack == NOT_DUMPED:
            node = observation.node_reports[job.driver_node_id]
            known = msgspec.structs.replace(probe, stack=self._drivers[job.job_id][1])
            observation.node_reports[job.driver_node_id] = node.with_process(job.driver_pid, known)
