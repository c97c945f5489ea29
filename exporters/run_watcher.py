"""Follows the run that `serve` was asked for, then the next run of that name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from dsray_inspect.agent.errors import InspectError
from dsray_inspect.agent.feed import Ended, Event, Feed, SampleTaken
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.model import Record, Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest

_POLL_S: Final = 2.0
"""How often to check whether a run has started."""
_ENDED_STATES: Final = ("FINISHED", "ERRORED", "ABORTED")


class Waiting(Record, frozen=True, kw_only=True):
    """There is no run to sample yet."""

    why: str


class RunSource(Protocol):
    """The part of a session that the watcher needs."""

    def find(self, name: str | None, *, inject: bool = True) -> Candidate: ...

    def refreshed(self, candidate: Candidate) -> Candidate: ...

    def snapshot(self, candidate: Candidate, ask: SampleRequest) -> Snapshot: ...


class RunWatcher:
    """Yields samples of the run that `name` refers to, for as long as there is one.

    With `wait` it also waits for the run to start, and for the next run after it has ended.
    """

    def __init__(
        self,
        session: RunSource,
        name: str | None,
        ask: SampleRequest,
        *,
        every_s: float,
        wait: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session
        self._name = name
        self._ask = ask
        self._every_s = every_s
        self._wait = wait
        self._sleep = sleep
        self.candidate: Candidate | None = None
        """The run that is, or was last, watched."""

    def __iter__(self) -> Iterator[Event | Waiting]:
        while True:
            candidate = self._find()

            if isinstance(candidate, Waiting) or (
                self._wait and _has_nothing_left(candidate, self.candidate)
            ):
                yield (
                    candidate
                    if isinstance(candidate, Waiting)
                    else Waiting(why=_ended_message(candidate))
                )
                self._sleep(_POLL_S)
                continue

            self.candidate = candidate
            has_ended = False

            for event in self._follow(candidate):
                has_ended = isinstance(event, Ended)
                yield event

            if has_ended and not self._wait:
                return

    def _find(self) -> Candidate | Waiting:
        try:
            return self._session.find(self._name, inject=self._ask.inject)
        except Exception as error:
            if not self._wait:
                raise

            known = isinstance(error, InspectError)
            return Waiting(why=str(error) if known else f"The cluster does not answer: {error}")

    def _follow(self, candidate: Candidate) -> Iterator[Event]:
        """Yield samples until the job ends or another run takes the place of this one."""
        feed = Feed(self._session, candidate, self._ask, every_s=self._every_s, keep=1)

        for event in feed:
            yield event

            may_be_over = isinstance(event, SampleTaken) and _may_be_followed(event.snapshot)

            if may_be_over and self._next_run(candidate) is not None:
                feed.stop()

    def _next_run(self, candidate: Candidate) -> Candidate | None:
        """Return the run that the name refers to now, if it is another one."""
        try:
            found = self._session.find(self._name, inject=self._ask.inject)
        except InspectError:
            return None

        return found if not _is_same_run(found, candidate) and found.actors is not None else None


def _may_be_followed(snapshot: Snapshot) -> bool:
    """Return whether the run is over and its job is not: another run may follow."""
    over = snapshot.run is None or snapshot.run.state in _ENDED_STATES
    return over and not snapshot.job.has_ended


def _is_same_run(candidate: Candidate, other: Candidate) -> bool:
    if candidate.job.job_id != other.job.job_id or candidate.actors is None or other.actors is None:
        return candidate.job.job_id == other.job.job_id and candidate.actors is other.actors

    return candidate.actors.is_same(other.actors)


def _has_nothing_left(candidate: Candidate, watched: Candidate | None) -> bool:
    """Return whether a job has ended, watched or not, and can bring no further run."""
    return candidate.job.is_dead and (watched is None or _is_same_run(candidate, watched))


def _ended_message(candidate: Candidate) -> str:
    return f"{candidate.job.label} has ended; waiting for the next run"
