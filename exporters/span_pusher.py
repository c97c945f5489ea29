"""Spans of a run that is watched: read from the ranks' flight recorders every now and then."""

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
PATIENCE_S: Final = 60.0
"""After which it is tried again where the ranks gave nothing."""
STILL: Final = ("hung", "failed")
"""Verdicts at which what is open is sent as it is: nothing may come after it."""


class Traces(Protocol):
    """What is needed of a session."""

    def refreshed(self, candidate: Candidate) -> Candidate: ...

    def start_timeline(self, candidate: Candidate, snapshot: Snapshot) -> Timeline | None: ...

    def trace(
        self, candidate: Candidate, snapshot: Snapshot, *, seconds: float | None, ask: SampleRequest
    ) -> tuple[Timeline, bool]: ...


class SpanPusher:
    """Sends the steps and collectives that are new since it last did."""

    def __init__(
        self,
        session: Traces,
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
        """Send what is new, if it is time; returns what is wrong, "" if nothing is."""
        now = self._monotonic()

        if now < self._next or not any(one.state == "alive" for one in snapshot.workers):
            return ""

        self._next = now + EVERY_S

        try:
            current = self._session.refreshed(candidate)
            self._push_start(current, snapshot)

            if snapshot.verdict.state == "starting":
                return ""

            timeline, _ = self._session.trace(current, snapshot, seconds=None, ask=self._ask)
        except InspectError as error:
            self._next = now + PATIENCE_S
            return f"No spans: {error}"

        self._otlp.send(timeline, whole=snapshot.verdict.state in STILL)
        lost = self._otlp.spool.dropped_export
        return "The OpenTelemetry collector does not take spans: they are dropped." if lost else ""

    def _push_start(self, candidate: Candidate, snapshot: Snapshot) -> None:
        """Send the run's start once it is over; what is open then lasts as long as the run."""
        if snapshot.startup is None or snapshot.startup.until == "now":
            return

        start = self._session.start_timeline(candidate, snapshot)

        if start is not None:
            self._otlp.send(start, whole=True)
