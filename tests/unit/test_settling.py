"""When `why` has looked often enough: not before it can say who is to blame."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent import settling
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.model import Finding, Snapshot, Verdict
from tests.tui.histories import recorded

replace = msgspec.structs.replace


class Session:
    """Gives one snapshot after another, the last one again and again."""

    def __init__(self, *snapshots: Snapshot, takes_s: float = 0.0) -> None:
        self._snapshots = list(snapshots)
        self._takes_s = takes_s
        self.taken = 0

    def snapshot(self, _candidate: Any, _ask: Any) -> Snapshot:
        time.sleep(self._takes_s)
        self.taken += 1
        return self._snapshots.pop(0) if len(self._snapshots) > 1 else self._snapshots[0]

    def refreshed(self, candidate: Any) -> Any:
        return candidate


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda s: now.__setitem__(0, now[0] + s))


def drift(*ranks: int) -> Snapshot:
    finding = Finding(
        cause="config_drift",
        severity="error",
        ranks=ranks,
        summary="Rank 2 runs another DeepSpeed config.",
        evidence=(),
        next_step="",
    )
    verdict = Verdict(state="degraded", cause="config_drift", ranks=ranks, summary=finding.summary)
    return replace(recorded("healthy"), findings=(finding,), verdict=verdict)


def ended(state: str) -> Snapshot:
    hung = recorded("hung")
    return replace(hung, job=replace(hung.job, state=state, submission_id="j47"))


def told(session: Session, *, ended_at: float | None = None) -> Explanation:
    candidate: Any = SimpleNamespace(job=SimpleNamespace(ended_at=ended_at))
    return settling.settle(session, candidate, None)  # type: ignore[arg-type]


def settled(session: Session) -> tuple[int, ...]:
    return told(session).verdict.ranks


def test_a_drift_waits_for_the_engine_that_decides_it() -> None:
    session = Session(drift(), drift(), drift(), drift(2))
    assert settled(session) == (2,)
    assert session.taken == 4


def test_an_engine_that_no_sample_has_seen_at_work_is_waited_for() -> None:
    healthy = recorded("healthy")
    unseen = replace(
        healthy,
        workers=tuple(
            replace(worker, deepspeed=None, versions={"deepspeed": "0.19.1"})
            for worker in healthy.workers
        ),
    )
    session = Session(unseen, unseen, unseen, healthy)
    told(session)
    assert session.taken == 4

    without_deepspeed = replace(
        unseen, workers=tuple(replace(worker, versions={}) for worker in unseen.workers)
    )
    session = Session(without_deepspeed)
    told(session)
    assert session.taken == 2


def test_it_does_not_wait_for_ever() -> None:
    session = Session(drift())
    assert settled(session) == ()
    assert session.taken > 3


def test_ranks_that_wait_for_input_are_looked_at_until_it_is_known_what_brings_it() -> None:
    hung = recorded("hung")
    waiting = replace(
        hung,
        findings=(),
        verdict=Verdict(state="unknown", cause=None, ranks=(), summary="No new step for 1 min."),
        workers=tuple(replace(worker, phase="data") for worker in hung.workers),
    )
    session = Session(waiting, waiting, waiting, drift(2))
    assert settled(session) == (2,)


def test_slow_samples_leave_a_chance_to_what_shows_now_and_then() -> None:
    session = Session(drift(), drift(), drift(), drift(2), takes_s=5.0)
    assert settled(session) == (2,)

    session = Session(drift(), takes_s=5.0)
    assert settled(session) == ()
    assert session.taken == 4


def test_two_looks_that_agree_are_enough() -> None:
    session = Session(drift(2))
    assert settled(session) == (2,)
    assert session.taken == 2


def test_a_job_that_has_just_ended_is_judged_when_ray_says_how() -> None:
    session = Session(ended("FINISHED"), ended("FINISHED"), ended("FAILED"))
    assert told(session).snapshot.job.state == "FAILED"
    assert session.taken == 3


class Stale(Session):
    """Knows how the job ended only of the run as it is now."""

    def snapshot(self, candidate: Any, ask: Any) -> Snapshot:
        super().snapshot(candidate, ask)
        return ended("FAILED" if candidate.is_new else "FINISHED")

    def refreshed(self, candidate: Any) -> Any:
        return SimpleNamespace(job=candidate.job, is_new=True)


def test_it_looks_at_the_run_as_it_is_now() -> None:
    candidate: Any = SimpleNamespace(job=SimpleNamespace(ended_at=None), is_new=False)
    session: Any = Stale(ended("FINISHED"))
    assert settling.settle(session, candidate, None).snapshot.job.state == "FAILED"  # type: ignore[arg-type]


def test_ray_may_never_say_how_it_ended() -> None:
    session = Session(ended("FINISHED"))
    assert told(session).snapshot.job.state == "FINISHED"
    assert session.taken > 3


def test_of_one_that_ended_long_ago_it_says_no_more() -> None:
    session = Session(ended("FINISHED"))
    assert told(session, ended_at=1.0).snapshot.job.state == "FINISHED"
    assert session.taken == 1


@pytest.mark.parametrize(
    ("age_s", "since_s", "rest_s"),
    [
        *[(0.1, 0.2, 1.0), (3.0, 0.2, 0.9), (3.6, 0.2, 0.3), (3.9, 0.2, 0.3)],
        *[(6.0, 0.2, 1.0), (7.5, 0.2, 0.4), (60.0, 0.2, 1.0)],
    ],
)
def test_a_watch_looks_again_just_when_a_wait_tells_more(
    age_s: float, since_s: float, rest_s: float
) -> None:
    hung = recorded("hung")
    waiting = replace(hung.workers[0].collectives[0], age_s=age_s, finished=False)
    workers = tuple(
        replace(worker, collectives=(waiting,), longest_gap_s=0.03) for worker in hung.workers
    )
    snapshot = replace(hung, workers=workers)
    assert settling.rest_s(snapshot, snapshot.taken_at + since_s) == pytest.approx(rest_s)
