"""A stream of samples of one run: the input of `attach` in a terminal and of `serve`.

for event in Feed(session, candidate, ask, every_s=0.5):
    match event:
        case SampleTaken(snapshot=snapshot): ...    # a sample with its verdict
        case HistoryLoaded(history=history): ...    # once, after the first sample, if requested
        case SampleFailed(why=why): ...             # nothing can be read right now; retries follow
        case Ended(): ...                           # the job has ended; the last event
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from dsray_inspect.agent.errors import InspectError
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Record, Snapshot, Worker
from dsray_inspect.agent.sampling.observation import SampleRequest

_KEEP: Final = 600
"""Default number of snapshots in the window."""
_REST_SHARE: Final = 0.5
"""Minimum pause after a sample, as a share of its duration: spares a slow cluster."""
MAX_REST_S: Final = 5.0
"""The longest pause between retries."""


class SampleTaken(Record, frozen=True, kw_only=True):
    """A sample was taken."""

    snapshot: Snapshot


class SampleFailed(Record, frozen=True, kw_only=True):
    """The cluster or the job cannot be read right now; the next sample may succeed."""

    why: str
    help_text: str
    failures: int
    """How many samples in a row have failed."""
    at: float


class Ended(Record, frozen=True, kw_only=True):
    """The job has ended: further samples cannot show anything new."""

    snapshot: Snapshot


class HistoryLoaded(Record, frozen=True, kw_only=True):
    """What the ranks did before the first sample is now known."""

    history: History


Event = SampleTaken | HistoryLoaded | SampleFailed | Ended


class SampleStream(Protocol):
    """The part of a session that a feed needs."""

    def refreshed(self, candidate: Candidate) -> Candidate: ...

    def snapshot(self, candidate: Candidate, ask: SampleRequest) -> Snapshot: ...


Past = Callable[[Candidate, Snapshot, SampleRequest], History]


class Feed:
    """Samples one run every `every_s` seconds; iterate over it in one thread.

    Each sample follows the run, including restarted worker groups. Iteration raises no errors: a
    failed sample is a `SampleFailed` event. `stop` may be called from any thread.
    """

    def __init__(
        self,
        session: SampleStream,
        candidate: Candidate,
        ask: SampleRequest,
        *,
        every_s: float,
        keep: int = _KEEP,
        past: Past | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._candidate = candidate
        self._ask = ask
        self._every_s = every_s
        self._past = past
        self._monotonic = monotonic
        self._stopped = threading.Event()
        self._failures = 0
        self.window: deque[Snapshot] = deque(maxlen=keep)
        """The newest snapshots, the newest last."""

    def __iter__(self) -> Iterator[Event]:
        while not self._stopped.is_set():
            started = self._monotonic()
            event = self._sample()
            yield event

            if isinstance(event, SampleTaken) and event.snapshot.job.has_ended:
                yield Ended(snapshot=event.snapshot)
                return

            if isinstance(event, SampleTaken) and self._past is not None:
                past, self._past = self._past, None
                yield HistoryLoaded(history=self._history(past, event.snapshot))

            self._stopped.wait(self._rest_s(self._monotonic() - started))

    def stop(self) -> None:
        """End the loop: no sample starts after this, and a pause ends immediately."""
        self._stopped.set()

    def _sample(self) -> SampleTaken | SampleFailed:
        try:
            self._candidate = self._session.refreshed(self._candidate)
            snapshot = self._session.snapshot(self._candidate, self._ask)
        except Exception as error:
            self._failures += 1
            return _failure(error, self._failures)

        self._failures = 0
        before = self.window[-1] if self.window else None
        snapshot = sharing_parts(snapshot, before) if before is not None else snapshot
        self.window.append(snapshot)
        return SampleTaken(snapshot=snapshot)

    def _history(self, past: Past, snapshot: Snapshot) -> History:
        try:
            return past(self._candidate, snapshot, self._ask)
        except Exception as error:
            return History(note=_failure(error, 0).why)

    def _rest_s(self, took_s: float) -> float:
        if self._failures:
            return float(min(MAX_REST_S, max(self._every_s, 0.1) * 2 ** min(self._failures - 1, 8)))

        return max(self._every_s - took_s, _REST_SHARE * took_s)


def _failure(error: Exception, failures: int) -> SampleFailed:
    known = isinstance(error, InspectError)
    why = str(error) if known else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    help_text = error.help_text if isinstance(error, InspectError) else ""
    return SampleFailed(why=why, help_text=help_text, failures=failures, at=time.time())


def sharing_parts(snapshot: Snapshot, before: Snapshot) -> Snapshot:
    """Return the snapshot with large unchanged parts taken from the previous one.

    Otherwise a window would hold each rank's environment hundreds of times.
    """
    known = {worker.actor_id: worker for worker in before.workers}
    workers = tuple(
        _sharing_worker(worker, known[worker.actor_id]) if worker.actor_id in known else worker
        for worker in snapshot.workers
    )
    return msgspec.structs.replace(snapshot, workers=workers)


def _sharing_worker(worker: Worker, before: Worker) -> Worker:
    env = before.env if worker.env == before.env else worker.env
    engine = before.deepspeed if worker.deepspeed == before.deepspeed else worker.deepspeed
    return msgspec.structs.replace(worker, env=env, deepspeed=engine)
