"""Which run `serve` watches: the one that was named, its next one, or none yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from dsray_inspect.agent.errors import InspectError
from dsray_inspect.agent.feed import Ended, Event, Feed, SampleTaken
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.model import Record, Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest

POLL_S: Final = 2.0
"""How often it is asked whether a run has come."""
OVER: Final = ("FINISHED", "ERRORED", "ABORTED")


class Waiting(Record, frozen=True, kw_only=True):
    """There is no run to look at yet."""

    why: str


class Finder(Protocol):
    """What is needed of a session."""

    def find(self, name: str | None, *, inject: bool = True) -> Candidate: ...

    def refreshed(self, candidate: Candidate) -> Candidate: ...

    def snapshot(self, candidate: Candidate, ask: SampleRequest) -> Snapshot: ...


class RunWatcher:
    """Yields looks at the run that `name` means, for as long as there is one.

    With `wait` it also waits for the run to come, and for the next one after its end.
    """

    def __init__(
        self,
        session: Finder,
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
        """The run that is looked at, or that was last."""

    def __iter__(self) -> Iterator[Event | Waiting]:
        while True:
            candidate = self._find()

            if isinstance(candidate, Waiting) or (
                self._wait and is_over(candidate, self.candidate)
            ):
                yield candidate if isinstance(candidate, Waiting) else Waiting(why=ended(candidate))
                self._sleep(POLL_S)
                continue

            self.candidate = candidate
            ended_now = False

            for event in self._follow(candidate):
                ended_now = isinstance(event, Ended)
                yield event

            if ended_now and not self._wait:
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
        """Yield looks until the job ends, or until another run takes the place of this one."""
        feed = Feed(self._session, candidate, self._ask, every_s=self._every_s, keep=1)

        for event in feed:
            yield event

            over = isinstance(event, SampleTaken) and may_be_followed(event.snapshot)

            if over and self._next_one(candidate) is not None:
                feed.stop()

    def _next_one(self, candidate: Candidate) -> Candidate | None:
        """Return the run that the name means now, where that is another one."""
        try:
            found = self._session.find(self._name, inject=self._ask.inject)
        except InspectError:
            return None

        return found if not same_run(found, candidate) and found.actors is not None else None


def may_be_followed(snapshot: Snapshot) -> bool:
    """Return whether a job lives on without this run: its next run may be on the way."""
    over = snapshot.run is None or snapshot.run.state in OVER
    return over and not snapshot.job.has_ended


def same_run(one: Candidate, other: Candidate) -> bool:
    if one.job.job_id != other.job.job_id or one.actors is None or other.actors is None:
        return one.job.job_id == other.job.job_id and one.actors is other.actors

    return one.actors.is_same(other.actors)


def is_over(candidate: Candidate, watched: Candidate | None) -> bool:
    """Return whether there is nothing to wait for in a job that has ended, seen or not."""
    return candidate.job.is_dead and (watched is None or same_run(candidate, watched))


def ended(candidate: Candidate) -> str:
    return f"{candidate.job.label} has ended; waiting for the next run"
