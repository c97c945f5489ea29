"""Sends the spans of a watched run, read from its ranks' flight recorders at intervals."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from dsray_inspect.agent.errors import InspectError
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.exporters.otlp import Otlp

EVERY_S: Final = 10.0
RETRY_S: Final = 60.0
"""The interval after an attempt that failed."""
_FINAL_STATES: Final = ("hung", "failed")
"""Verdicts after which open spans are sent as they are: they may never end."""


class TraceSource(Protocol):
    """The part of a session that the pusher needs."""

    def refreshed(self, candidate: Candidate) -> Candidate: ...

    def start_timeline(self, candidate: Candidate, snapshot: Snapshot) -> Timeline | None: ...

    def trace(
        self, candidate: Candidate, snapshot: Snapshot, *, seconds: float | None, ask: SampleRequest
    ) -> tuple[Timeline, bool]: ...


class SpanPusher:
    """Sends the steps and collectives that are new since the last push."""

    def __init__(
        self,
        session: TraceSource,
        otlp: Otlp,
        ask: SampleRequest,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._otlp = otlp
        self._ask = ask
        self._monotonic = monotonic
        self._next = 0.0

    def push(self, candidate: Candidate, snapshot: Snapshot) -> str:
        """Send new spans if they are due; return what went wrong, "" if nothing did."""
        now = self._monotonic()

        if now < self._next or not any(worker.state == "alive" for worker in snapshot.workers):
            return ""

        self._next = now + EVERY_S

        try:
            current = self._session.refreshed(candidate)
            self._push_start(current, snapshot)

            if snapshot.verdict.state == "starting":
                return ""

            timeline, _ = self._session.trace(current, snapshot, seconds=None, ask=self._ask)
        except InspectError as error:
            self._next = now + RETRY_S
            return f"No spans: {error}"

        self._otlp.send(timeline, whole=snapshot.verdict.state in _FINAL_STATES)
        lost = self._otlp.queue.dropped_export
        return (
            "The OpenTelemetry collector refuses spans or does not answer; they are dropped."
            if lost
            else ""
        )

    def _push_start(self, candidate: Candidate, snapshot: Snapshot) -> None:
        """Send the run's start once it is over; spans still open then last as long as the run."""
        if snapshot.startup is None or snapshot.startup.until == "now":
            return

        start = self._session.start_timeline(candidate, snapshot)

        if start is not None:
            self._otlp.send(start, whole=True)
