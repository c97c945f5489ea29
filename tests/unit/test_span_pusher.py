"""Spans of a watched run: sent when it is time, once each, and never in the way."""

from __future__ import annotations

import msgspec
import pytest

from dsray_inspect.agent.errors import PermissionMissing
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.model import Snapshot, StartPart, Startup
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.exporters import semconv
from dsray_inspect.exporters.otlp import Otlp
from dsray_inspect.exporters.span_pusher import EVERY_S, RETRY_S, SpanPusher
from tests.unit import snapshots, timelines
from tests.unit.span_exporters import Broken, Kept
from tests.unit.test_run_watcher import run

ASK = SampleRequest(max_pause_ms=100)
HEALTHY = snapshots.recorded("healthy")
STARTED = msgspec.structs.replace(
    HEALTHY,
    startup=Startup(
        began_at=1_764_000_000.5,
        seconds=4.0,
        until="first_step",
        restart=False,
        parts=(StartPart(name="imports", seconds=3.0), StartPart(name="rendezvous", seconds=1.0)),
    ),
)


class Session:
    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self._error = error

    def refreshed(self, candidate: Candidate) -> Candidate:
        return candidate

    def start_timeline(self, candidate: Candidate, snapshot: Snapshot) -> Timeline | None:
        lasting = timelines.span("fit", "startup", timelines.DRIVER, (0, None))
        return msgspec.structs.replace(timelines.two_ranks(), spans=(lasting,))

    def trace(
        self, candidate: Candidate, snapshot: Snapshot, *, seconds: float | None, ask: SampleRequest
    ) -> tuple[Timeline, bool]:
        assert seconds is None, "nothing may be wrapped for this"
        self.asked += 1

        if self._error:
            raise self._error

        steps = [span for span in timelines.two_ranks().spans if span.kind != "startup"]
        return msgspec.structs.replace(timelines.two_ranks(), spans=tuple(steps)), True


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_reads_now_and_then_and_sends_nothing_twice() -> None:
    session, kept, time = Session(), Kept(), Time()
    with Otlp(kept) as otlp:
        pushing = SpanPusher(session, otlp, ASK, monotonic=time)
        for _ in range(6):
            assert pushing.push(run("a", 1), STARTED) == ""
            time.now += EVERY_S / 2
    assert session.asked == 3
    ids = [span.context.span_id for span in kept.spans if span.context]
    assert len(set(ids)) == len(ids) > 10


def test_a_hang_is_sent_as_it_stands() -> None:
    kept = Kept()
    with Otlp(kept) as otlp:
        SpanPusher(Session(), otlp, ASK, monotonic=Time()).push(
            run("a", 1), snapshots.recorded("hung")
        )
    open_ones = {span.name for span in kept.spans if (span.attributes or {}).get(semconv.SPAN_OPEN)}
    assert "all_reduce" in open_ones


def test_ranks_that_give_nothing_are_let_alone_for_a_while() -> None:
    session, time = Session(PermissionMissing("No rank could be traced.")), Time()
    with Otlp(Kept()) as otlp:
        pushing = SpanPusher(session, otlp, ASK, monotonic=time)
        assert pushing.push(run("a", 1), HEALTHY) == "No spans: No rank could be traced."
        time.now += EVERY_S
        assert pushing.push(run("a", 1), HEALTHY) == ""
        time.now += RETRY_S
        assert pushing.push(run("a", 1), HEALTHY) != ""
    assert session.asked == 2


def test_a_collector_that_takes_nothing_is_told_of() -> None:
    time = Time()
    with Otlp(Broken()) as otlp:
        pushing = SpanPusher(Session(), otlp, ASK, monotonic=time)
        pushing.push(run("a", 1), HEALTHY)
        assert otlp.queue.force_flush()
        time.now += EVERY_S
        assert "refuses spans" in pushing.push(run("a", 1), HEALTHY)


def starting(until: str | None) -> Snapshot:
    assert STARTED.startup is not None
    changed = msgspec.structs.replace(STARTED.startup, until=until) if until else None
    return msgspec.structs.replace(STARTED, startup=changed)


@pytest.mark.parametrize(("until", "sent"), [("first_step", True), ("now", False), (None, False)])
def test_the_start_is_sent_when_it_is_over(until: str | None, sent: bool) -> None:
    kept = Kept()
    with Otlp(kept) as otlp:
        SpanPusher(Session(), otlp, ASK, monotonic=Time()).push(run("a", 1), starting(until))
    starts = [span for span in kept.spans if span.name == "fit"]
    assert len(starts) == sent
    assert all((span.attributes or {})[semconv.SPAN_OPEN] for span in starts)
