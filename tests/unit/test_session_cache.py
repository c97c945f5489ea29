"""What a session need not read again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.model import DeepSpeed
from dsray_inspect.agent.sampling import session_cache
from dsray_inspect.agent.sampling.decode import rank_report
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.process_probe import Environ, StackDump
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.sampling.session_cache import SessionCache
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable
from tests.unit.samples import job, node

ENGINE = {
    "version": "0.19",
    "zero_stage": 2,
    "dtype": "fp32",
    "micro_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "train_batch_size": 8,
    "offload": None,
    "optimizer": "AdamW",
    "parameters": 12,
    "process_groups": [],
    "config_digest": "d1",
}
ENVIRON: dict[str, Any] = {"variables": {"A": "1"}, "set_after_exec": [], "from_parent": None}
ENV: dict[str, Any] = {"environ": ENVIRON, "env_state": 5}
COLLECTIVES: dict[str, Any] = {
    "collectives": [
        {
            "group": "default_pg",
            "sequence": 7,
            "operation": "all_reduce",
            "sizes": [[4]],
            "dtype": "float",
            "age_s": 2.5,
            "finished": False,
            "timeout_s": 1800.0,
        }
    ],
    "group_ranks": {"default_pg": {"first": 0, "end": 2, "stride": 1}},
    "arrivals": {},
    "longest_gap_s": 0.4,
    "newest_age_s": 2.5,
    "recorder_state": 9,
}
FAILED = Unavailable(reason="failed", detail="no frame")
NO_ENGINE = msgspec.to_builtins(FAILED)
DUMP = b'[{"thread_name": "MainThread", "frames": []}]'
EVERYTHING = SampleRequest(max_pause_ms=100)


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(session_cache, "time", clock)
    return clock


def answer(*, idle_s: float | None = 0.0, **more: Any) -> dict[str, Any]:
    thread = {"name": "MainThread", "tid": 7, "frames": "", "idle_s": idle_s}
    return {"threads": [thread], "deepspeed": NO_ENGINE, "step": None, **more}


def completed(known: SessionCache, answer: dict[str, Any]) -> RankReport:
    report = rank_report(answer, StackTable())
    assert isinstance(report, RankReport)
    return known.completed("a", report)


def names(known: SessionCache) -> list[str]:
    return [part.__name__ for part in known.parts("a", EVERYTHING)]


def test_the_engine_is_asked_for_once() -> None:
    known = SessionCache()
    assert names(known) == ["process", "environment", "deepspeed", "collectives", "tidy"]
    completed(known, answer(deepspeed=ENGINE, step=3))
    assert names(known) == ["process", "environment", "step", "collectives", "tidy"]
    again = completed(known, answer())
    assert isinstance(again.deepspeed, DeepSpeed)
    assert again.deepspeed.config_digest == "d1"


def test_variables_that_are_the_same_are_not_read_again() -> None:
    known = SessionCache()
    assert known.states("a") == {"environment": None, "recorder_state": None}
    completed(known, answer(**ENV))
    assert known.states("a")["environment"] == 5
    again = completed(known, answer(unchanged=["environment"], env_state=5))
    assert isinstance(again.environ, Environ)
    assert again.environ.variables == {"A": "1"}
    assert completed(known, answer(env_state=6)).environ == NOT_ASKED


@pytest.mark.parametrize(
    ("idle_s", "step"), [(60.0, 3), (10.1, 3), (9.9, None), (0.0, None), (None, None)]
)
def test_a_rank_that_has_not_run_since_is_at_the_same_step(
    clock: Clock, idle_s: float | None, step: int | None
) -> None:
    known = SessionCache()
    completed(known, answer(deepspeed=ENGINE, step=3))
    clock.now += 10
    assert completed(known, answer(idle_s=idle_s)).step == step


def test_the_driver_is_looked_at_every_few_seconds(clock: Clock) -> None:
    known = SessionCache()
    assert known.needs_driver("02000000", EVERYTHING)
    first = driver_stack(known, {"stack": {"json": DUMP}})
    assert isinstance(first, StackDump)
    clock.now += session_cache.DRIVER_S - 0.1
    assert not known.needs_driver("02000000", EVERYTHING)
    assert driver_stack(known, {"state": "alive"}) is first
    assert known.needs_driver("02000000", SampleRequest(max_pause_ms=100, native=True))
    clock.now += 0.2
    assert known.needs_driver("02000000", EVERYTHING)
    assert driver_stack(known, {"stack": NO_ENGINE}) == FAILED


def driver_stack(known: SessionCache, told: dict[str, Any]) -> StackDump | Unavailable:
    nodes = {"n1": node({"processes": {10: told}})}
    observation = Observation(
        job=job(), actors=None, nodes=[], request=EVERYTHING, node_reports=nodes
    )
    known.complete_driver(observation)
    return observation.driver.stack


def test_collectives_that_are_the_same_are_not_read_again_but_become_older(clock: Clock) -> None:
    known = SessionCache()
    assert known.states("a")["recorder_state"] is None
    completed(known, answer(**COLLECTIVES))
    assert known.states("a")["recorder_state"] == 9
    clock.now += 10
    again = completed(known, answer(unchanged=["collectives"]))
    assert not isinstance(again.collectives, Unavailable)
    assert [(entry.sequence, entry.age_s) for entry in again.collectives] == [(7, 12.5)]
    assert (again.newest_age_s, again.longest_gap_s) == (12.5, 0.4)
    assert [group.ranks for group in again.groups] == [(0, 1)]


def test_collectives_without_a_state_are_read_again() -> None:
    known = SessionCache()
    completed(known, answer(**COLLECTIVES))
    completed(known, answer(**{**COLLECTIVES, "recorder_state": None}))
    assert known.states("a")["recorder_state"] is None


def test_an_engine_that_was_not_there_is_searched_for_again_after_a_while(clock: Clock) -> None:
    known = SessionCache()
    assert "deepspeed" in names(known)
    first = completed(known, answer())
    clock.now += 1
    assert "step" in names(known)
    other = msgspec.to_builtins(Unavailable(reason="failed", detail="no search"))
    assert completed(known, answer(deepspeed=other)).deepspeed == first.deepspeed
    clock.now += session_cache.SEARCH_S
    assert "deepspeed" in names(known)


def test_an_engine_that_is_seen_at_work_is_searched_for_at_once(clock: Clock) -> None:
    known = SessionCache()
    completed(known, answer())
    completed(known, answer(step=4))
    assert "deepspeed" in names(known)
