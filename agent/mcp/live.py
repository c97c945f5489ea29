"""Live jobs: one session for all calls, and no reading sooner after another than the user allows."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from dsray_inspect.agent.errors import ClusterUnreachable, TargetNotFound
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.history import History
from dsray_inspect.agent.mcp.notes import VerdictChangeNote
from dsray_inspect.agent.mcp.sample import Sample, utc, verdict_note
from dsray_inspect.agent.model import Verdict
from dsray_inspect.agent.past import past_of
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.settling import settle

_KEPT: Final = 8
_LEAST_KEPT: Final = 2
_MOST_RANKS: Final = 40_000
"""So many samples are kept, the newest: fewer of a large run, whose ranks count together."""
_MOST_CHANGES: Final = 200

_T = TypeVar("_T")


class _Reading(msgspec.Struct, frozen=True):
    """A sample, and whose it is."""

    sample: Sample
    candidate: Candidate
    asked: str | None
    """The name by which it was asked for, "" for the only run; None where it is no whole sample."""
    ended_at: float
    """By the monotonic clock."""


class LiveJobs:
    """Takes samples as `attach` and `why` do, and keeps the last ones.

    Args:
        connect: Opens a session on the cluster.
        request: How samples are taken.
        prefix: What the ids of samples begin with.
        every_s: The least time between the end of a reading and the begin of the next.
        monotonic: A clock.
        sleep: Waits.
    """

    def __init__(
        self,
        connect: Callable[[], Session],
        request: SampleRequest,
        *,
        prefix: str,
        every_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect = connect
        self._request = request
        self._prefix = prefix
        self._every_s = every_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._session: Session | None = None
        self._kept: OrderedDict[str, _Reading] = OrderedDict()
        self._changes: dict[str, list[tuple[str, float, Verdict]]] = {}
        self._samples: dict[str, int] = {}
        self._runs: tuple[float, list[Candidate]] | None = None
        self._pasts: dict[str, History | None] = {}
        self._count = 0
        self._last_ended: float | None = None

    def close(self) -> None:
        """Leave the cluster; the next call joins it again. What was read is kept."""
        session, self._session = self._session, None

        if session is not None:
            session.__exit__(None, None, None)

    def runs(self) -> list[Candidate]:
        """Return every job with its runs."""
        if self._runs is None or self._monotonic() - self._runs[0] >= self._every_s:
            found = self._read(lambda session: session.candidates(inject=self._request.inject))
            self._runs = (self._monotonic(), found)

        return self._runs[1]

    def newest(self, job: str) -> Sample:
        """Return a sample of a job: the last one if it is recent, else a new one.

        Raises:
            InspectError: There is no such job, or it cannot be read.
        """
        for reading in reversed(self._kept.values()):
            if reading.asked == job and self._monotonic() - reading.ended_at < self._every_s:
                return reading.sample

        def read(session: Session) -> Sample:
            candidate = session.find(job or None, inject=self._request.inject)
            explanation = settle(session, candidate, self._request)
            sample = Sample(id=self._next_id(), source="live", explanation=explanation)
            self._keep(_Reading(sample, candidate, job, self._monotonic()))
            self._note_verdict(sample)
            return sample

        return self._read(read)

    def sample(self, id: str) -> Sample:
        """Return a sample by its id.

        Raises:
            TargetNotFound: It is not kept.
        """
        return self._reading(id).sample

    def details(
        self, id: str, ranks: tuple[int, ...], *, with_locals: bool, log_lines: int
    ) -> Sample:
        """Read ranks of an earlier sample anew, for what samples do not have.

        The new sample keeps the verdict of the earlier one: it lacks what a verdict needs.
        """
        reading = self._reading(id)
        earlier = reading.sample
        workers = earlier.snapshot.workers
        only = frozenset(worker.actor_id for worker in workers if worker.rank in ranks)
        request = msgspec.structs.replace(
            self._request,
            env=False,
            deepspeed=False,
            start=False,
            counters=False,
            recorder="idle",
            locals=with_locals,
            only=only,
            log_lines=log_lines,
        )

        def read(session: Session) -> Sample:
            candidate = session.refreshed(reading.candidate)
            snapshot = session.snapshot(candidate, request)
            explanation = msgspec.structs.replace(earlier.explanation, snapshot=snapshot)
            sample = Sample(id=self._next_id(), source="live", explanation=explanation)
            self._keep(msgspec.structs.replace(reading, sample=sample, asked=None))
            return sample

        return self._read(read)

    def past(self, id: str) -> History | None:
        """Return what the ranks did before a sample; None where reading it would pause one.

        It is read once, and without delay: it belongs to the sample, as in `attach`.
        """
        if id not in self._pasts:
            reading = self._reading(id)
            self._pasts[id] = self._read(
                lambda session: past_of(
                    session, reading.candidate, reading.sample.snapshot, self._request
                ),
                waits=False,
            )

        return self._pasts[id]

    def changes(self, sample: Sample) -> tuple[list[VerdictChangeNote], int]:
        """Return the verdicts given of a sample's job when they changed, and of how many samples."""
        job = _key(sample)
        notes = [
            VerdictChangeNote(
                sample=id if id in self._kept else "", at=utc(at), verdict=verdict_note(verdict)
            )
            for id, at, verdict in self._changes.get(job, [])
        ]
        return notes, self._samples.get(job, 0)

    def _reading(self, id: str) -> _Reading:
        reading = self._kept.get(id)

        if reading is None:
            raise TargetNotFound(
                f"The sample {id} is no longer kept.",
                help_text="Call why again; its answer has the id of a new sample.",
            )

        return reading

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._prefix}.{self._count}"

    def _keep(self, reading: _Reading) -> None:
        ranks = len(reading.sample.snapshot.workers)
        self._kept[reading.sample.id] = reading

        while len(self._kept) > max(_LEAST_KEPT, min(_KEPT, _MOST_RANKS // max(ranks, 1))):
            gone, _ = self._kept.popitem(last=False)
            self._pasts.pop(gone, None)

    def _note_verdict(self, sample: Sample) -> None:
        job, verdict = _key(sample), sample.explanation.verdict
        changes = self._changes.setdefault(job, [])
        self._samples[job] = self._samples.get(job, 0) + 1

        if not changes or changes[-1][2].differs_from(verdict):
            changes.append((sample.id, sample.snapshot.taken_at, verdict))
            del changes[:-_MOST_CHANGES]

    def _read(self, read: Callable[[Session], _T], *, waits: bool = True) -> _T:
        """Read something once the last reading is long enough ago."""
        if waits and self._last_ended is not None:
            self._sleep(max(0.0, self._last_ended + self._every_s - self._monotonic()))

        if self._session is None:
            self._session = self._connect()

        try:
            return read(self._session)
        except ClusterUnreachable:
            self.close()
            raise
        finally:
            self._last_ended = self._monotonic()


def _key(sample: Sample) -> str:
    run = sample.snapshot.run
    return f"{sample.snapshot.job.job_id} {run.id if run is not None else ''}"
