"""When a sample stops waiting for answers and reads ranks from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dsray_inspect.agent.handles import NodeHandle, ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.base import CallFailed, Part
from dsray_inspect.agent.sampling import sample_pass
from dsray_inspect.agent.sampling.node_readers import NodeReaders
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.sample_pass import HEDGE_S, LULL_S, SamplePass
from dsray_inspect.agent.sampling.session_cache import SessionCache
from dsray_inspect.agent.unavailable import Unavailable
from tests.unit.samples import actor, job
from tests.unit.test_node_readers import Host

RANKS = 40
AWAY = "away"


class Clock:
    """Time that passes only while answers are waited for."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s


class Reads:
    """Ranks that answer after so many seconds each, by actor id; the others never do."""

    def __init__(self, clock: Clock, after_s: Mapping[str, float]) -> None:
        self._clock = clock
        self._due_s = {name: clock.now_s + seconds for name, seconds in after_s.items()}

    def controller_parts(self, run: RunHandle) -> Sequence[Part] | Unavailable:
        return ()

    def send(self, process: ProcessHandle, parts: Sequence[Part], request: dict[str, Any]) -> str:
        return process.actor_id

    def answers(self, references: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        self._clock.now_s += max(0.0, timeout_s)
        return {
            name: CallFailed("it answers", dead=True)
            for name in references
            if self._due_s.get(name, self._clock.now_s + 1) <= self._clock.now_s
        }


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sample_pass, "time", clock)
    return clock


def waited_s(clock: Clock, after_s: Mapping[str, float]) -> float:
    """Return how long a sample of the ranks waits before it knows who is silent."""
    rows = tuple(actor(number) for number in range(RANKS))
    observation = Observation(
        job=job(),
        actors=RunHandle(generation="v2", controller=None, workers=rows),
        nodes=[NodeHandle(node_id=AWAY, ip="10.0.0.3", hostname=AWAY, alive=True, resources={})],
        request=SampleRequest(max_pause_ms=100),
    )
    readers, reads = NodeReaders(Host()), Reads(clock, after_s)
    started_s = clock.now_s
    sample = SamplePass(reads, readers, observation, SessionCache(), lambda: None)
    sample._send_calls()
    sample._collect_while_answers_come(started_s)
    return clock.now_s - started_s


def test_ranks_that_answer_one_after_another_are_waited_for(clock: Clock) -> None:
    after_s = {f"a{number}": 0.05 * (number + 1) for number in range(RANKS)}
    assert waited_s(clock, after_s) == pytest.approx(0.05 * RANKS, abs=LULL_S)


def test_a_silent_rank_is_read_soon_after_the_last_answer(clock: Clock) -> None:
    after_s = {f"a{number}": 0.05 * (number + 1) for number in range(RANKS - 1)}
    last_s = 0.05 * (RANKS - 1)
    assert last_s < waited_s(clock, after_s) <= last_s + 2 * LULL_S + 0.01


def test_ranks_that_are_all_silent_are_read_at_once(clock: Clock) -> None:
    assert waited_s(clock, {}) == pytest.approx(HEDGE_S, abs=0.01)
