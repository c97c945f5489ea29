"""Reads what there is of a run's start: once a session, beside the first sample.

Neither Ray's tables nor a rank is asked again when the start is complete; while it lasts, not
more often than every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError

import msgspec

from dsray_inspect.agent.handles import (
    JobHandle,
    RunHandle,
)
from dsray_inspect.agent.launchers.base import Launcher
from dsray_inspect.agent.launchers.start import Milestones, StartFacts
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.rank_report import ControllerReport, OpBuild, RankReport
from dsray_inspect.agent.startup.milestones import from_records
from dsray_inspect.agent.startup.ranks import RankStart, parse
from dsray_inspect.agent.unavailable import Unavailable

_AGAIN_S = 5.0
_WAIT_S = 1.0
"""How much later than the sample the tables may be read."""
_CALL_S = 2.0


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """All that was read of one worker group's start."""

    facts: StartFacts = StartFacts()
    marks: Milestones = Milestones()
    """The moments of all sources."""
    ranks: dict[str, RankStart] = {}
    """By actor id."""
    builds: dict[str, Sequence[OpBuild]] = {}
    """By actor id: the ops that a rank has loaded."""
    train_s: dict[str, Mapping[str, float]] = {}
    """By actor id: seconds that Ray Train sums up; see `remote.startup_artifacts`."""
    notes: tuple[str, ...] = ()
    is_done: bool = False
    """Whether nothing more of it will come."""


class StartReader:
    """What one session knows of the starts of the runs it samples; close it."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="start-read")
        self._pending: dict[tuple[str, ...], Future[Read]] = {}
        self._known: dict[tuple[str, ...], tuple[float, Read]] = {}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, job: JobHandle, actors: RunHandle | None) -> bool:
        """Begin to read the tables in a thread; returns whether the ranks are to be asked too.

        The tables are read until the start is over; what the ranks sum up goes on.
        """
        if actors is None or actors.controller is None:
            return False

        key = _key_of(actors)
        at, known = self._known.get(key, (0.0, None))

        if key in self._pending or (known and time.monotonic() - at < _AGAIN_S):
            return False

        if known is None or not known.is_done:
            self._pending[key] = self._pool.submit(self._read, job, actors)

        return True

    def finish(self, observation: Observation, *, trains: bool, is_over: bool) -> Read | None:
        """Return what is known by now, with what the ranks' answers hold of it.

        The controller is asked for its log where Ray has forgotten what is long ago.
        """
        actors = observation.actors

        if actors is None:
            return None

        if actors.controller is None:
            return Read(notes=("it is not rebuilt for Ray Train V1",))

        key = _key_of(actors)
        known = self._known[key][1] if key in self._known else None

        if key in self._pending:
            tables = self._tables(key)

            if tables is None:
                return known or Read(notes=("Ray's tables were not read in time; try again",))
        elif known is not None and observation.request.start:
            tables = known
        else:
            return known

        read = _with_reports(tables, observation, known)

        if trains and not read.marks.complete and not read.is_done and observation.request.inject:
            read = self._with_log(read, actors)

        read = msgspec.structs.replace(read, is_done=is_over)
        self._known[key] = (time.monotonic(), read)
        return read

    def known(self, actors: RunHandle) -> Read | None:
        """Return what was read of a worker group's start by now."""
        return self._known[_key_of(actors)][1] if _key_of(actors) in self._known else None

    def _tables(self, key: tuple[str, ...]) -> Read | None:
        """Return what the thread has read, None while it still reads."""
        pending = self._pending.pop(key)

        try:
            return pending.result(timeout=_WAIT_S)
        except TimeoutError:
            self._pending[key] = pending
            return None
        except Exception as error:
            return Read(notes=(f"Ray's tables cannot be read: {type(error).__name__}",))

    def _read(self, job: JobHandle, actors: RunHandle) -> Read:
        facts = self._launcher.start(job, actors)

        if isinstance(facts, Unavailable):
            return Read(notes=(str(facts),))

        return Read(facts=facts, marks=facts.marks, notes=(facts.why,) if facts.why else ())

    def _with_log(self, read: Read, actors: RunHandle) -> Read:
        logged = self._launcher.start_from_log(actors)
        note = (
            "Ray has forgotten task events of it: in part it is from the controller's log"
            if logged is not None
            else "Ray has forgotten task events of it, and the controller's log was not read"
        )
        marks = read.marks.or_else(logged or Milestones())
        return msgspec.structs.replace(read, marks=marks, notes=(*read.notes, note))


def _with_reports(read: Read, observation: Observation, known: Read | None) -> Read:
    """Return what was read with what the ranks keep, reported by themselves or found on their node.

    A rank that is silent now may have answered before.
    """
    ranks = dict(known.ranks) if known else {}
    builds = dict(known.builds) if known else {}
    train_s = dict(known.train_s) if known else {}

    for row in observation.actors.workers if observation.actors else ():
        answer = observation.ranks.get(row.actor_id)
        own = answer if isinstance(answer, RankReport) else RankReport()
        text = own.start or observation.process(row.node_id, row.pid).start
        start = parse(text) if text else None

        if start is not None:
            ranks[row.actor_id] = start

        if own.builds is not None:
            builds[row.actor_id] = own.builds
            train_s[row.actor_id] = own.train_s

    has_controller = observation.actors is not None and observation.actors.controller is not None
    report = observation.controller
    of_driver = observation.driver.start
    of_controller = report.start if isinstance(report, ControllerReport) else None
    recorded = from_records(
        parse(of_driver) if of_driver else None,
        parse(of_controller) if of_controller and has_controller else None,
        list(ranks.values()),
    )
    return msgspec.structs.replace(
        read, ranks=ranks, builds=builds, train_s=train_s, marks=read.marks.or_else(recorded)
    )


def _key_of(actors: RunHandle) -> tuple[str, ...]:
    """Return what names a worker group: its controller's and its workers' actors."""
    controller = actors.controller.actor_id if actors.controller else ""
    return (controller, *(row.actor_id for row in actors.workers))
