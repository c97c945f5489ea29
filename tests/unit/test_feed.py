"""Looking again and again, with a small session that stands in for the real one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dsray_inspect.agent.errors import ClusterUnreachable
from dsray_inspect.agent.feed import (
    MAX_REST_S,
    Ended,
    Event,
    Feed,
    HistoryLoaded,
    Past,
    SampleFailed,
    SampleTaken,
)
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest
from tests.unit.samples import job

GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots"
ASK = SampleRequest(max_pause_ms=100)
GONE = ClusterUnreachable("Nothing answers at 127.0.0.1:1.", help_text="ray start --head")


class Script:
    """A session whose samples are given: a snapshot to return, or an error to raise."""

    def __init__(self, *answers: Snapshot | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[Candidate] = []
        self.refreshes = 0

    def refreshed(self, candidate: Candidate) -> Candidate:
        self.refreshes += 1
        return Candidate(job=candidate.job, actors=None, attempt=str(self.refreshes))

    def snapshot(self, candidate: Candidate, ask: SampleRequest) -> Snapshot:
        assert ask is ASK
        self.asked.append(candidate)
        answer = self._answers.pop(0)

        if isinstance(answer, Exception):
            raise answer

        return answer


@pytest.fixture
def hung() -> Snapshot:
    return msgspec.json.decode((GOLDEN / "hung.json").read_bytes(), type=Snapshot)


def ended(snapshot: Snapshot) -> Snapshot:
    over = msgspec.structs.replace(snapshot.job, state="SUCCEEDED")
    return msgspec.structs.replace(snapshot, job=over, workers=())


def feed_of(
    session: Script, *, every_s: float = 0.0, keep: int = 600, past: Past | None = None
) -> Feed:
    run = Candidate(job=job(), actors=None)
    return Feed(session, run, ASK, every_s=every_s, keep=keep, past=past)


def kinds(events: Iterator[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


def test_it_samples_until_the_job_has_ended(hung: Snapshot) -> None:
    feed = feed_of(Script(hung, hung, ended(hung)))
    events = list(feed)
    assert kinds(iter(events)) == [SampleTaken, SampleTaken, SampleTaken, Ended]
    assert isinstance(events[-1], Ended)
    assert events[-1].snapshot.job.state == "SUCCEEDED"
    assert [snapshot.job.state for snapshot in feed.window] == ["RUNNING", "RUNNING", "SUCCEEDED"]


def test_each_sample_is_of_the_run_as_it_is_then(hung: Snapshot) -> None:
    session = Script(hung, hung, ended(hung))
    list(feed_of(session))
    assert [candidate.attempt for candidate in session.asked] == ["1", "2", "3"]


def test_an_error_is_an_event_and_the_next_sample_is_taken(hung: Snapshot) -> None:
    events = list(feed_of(Script(hung, GONE, ValueError("odd\nmore"), hung, ended(hung))))
    assert kinds(iter(events)) == [
        SampleTaken,
        SampleFailed,
        SampleFailed,
        SampleTaken,
        SampleTaken,
        Ended,
    ]
    first, second = events[1], events[2]
    assert isinstance(first, SampleFailed)
    assert isinstance(second, SampleFailed)
    assert (first.why, first.help_text, first.failures) == (str(GONE), "ray start --head", 1)
    assert (second.why, second.failures) == ("ValueError: odd", 2)


def test_the_window_is_bounded(hung: Snapshot) -> None:
    snapshots = [msgspec.structs.replace(hung, taken_at=float(n)) for n in range(6)]
    feed = feed_of(Script(*snapshots, ended(hung)), keep=3)
    list(feed)
    assert [snapshot.taken_at for snapshot in feed.window] == [4.0, 5.0, hung.taken_at]


def test_what_did_not_change_is_kept_once(hung: Snapshot) -> None:
    again = msgspec.json.decode(msgspec.json.encode(hung), type=Snapshot)
    assert again.workers[0].env is not hung.workers[0].env
    feed = feed_of(Script(hung, again, ended(hung)))
    list(feed)
    first, second = list(feed.window)[:2]
    assert second == first
    assert all(a.env is b.env for a, b in zip(first.workers, second.workers, strict=True))


def test_a_rest_ends_when_it_is_stopped_from_another_thread(hung: Snapshot) -> None:
    feed = feed_of(Script(hung, hung), every_s=3600)
    events = iter(feed)
    assert isinstance(next(events), SampleTaken)
    threading.Timer(0.05, feed.stop).start()
    assert list(events) == []


def test_nothing_is_looked_at_once_it_is_stopped(hung: Snapshot) -> None:
    session = Script(hung)
    feed = feed_of(session)
    feed.stop()
    assert list(feed) == []
    assert session.asked == []


@pytest.mark.parametrize(
    ("took_s", "rest_s"), [(0.1, 0.4), (0.4, 0.2), (4.0, 2.0)], ids=["quick", "slow", "too slow"]
)
def test_it_rests_at_least_half_as_long_as_it_looked(took_s: float, rest_s: float) -> None:
    assert feed_of(Script(), every_s=0.5)._rest_s(took_s) == pytest.approx(rest_s)


def test_it_asks_less_and_less_often_while_nothing_answers() -> None:
    feed = feed_of(Script(*[GONE] * 6), every_s=0.5)
    rests = []

    for _ in range(6):
        feed._sample()
        rests.append(feed._rest_s(0.0))

    assert rests == [0.5, 1.0, 2.0, 4.0, MAX_REST_S, MAX_REST_S]


def test_the_past_is_told_once_after_the_first_sample(hung: Snapshot) -> None:
    told = History(steps=3)
    events = list(feed_of(Script(GONE, hung, hung, ended(hung)), past=lambda *_: told))
    assert kinds(iter(events)) == [
        SampleFailed,
        SampleTaken,
        HistoryLoaded,
        SampleTaken,
        SampleTaken,
        Ended,
    ]
    assert events[2] == HistoryLoaded(history=told)


def test_a_past_that_cannot_be_read_is_told_with_its_reason(hung: Snapshot) -> None:
    def silent(*_: object) -> History:
        raise GONE

    events = list(feed_of(Script(hung, ended(hung)), past=silent))
    assert events[1] == HistoryLoaded(history=History(note=str(GONE)))
