"""Which ranks a sample does not ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dsray_inspect.agent.handles import NodeHandle, RunHandle
from dsray_inspect.agent.launchers.base import CallFailed
from dsray_inspect.agent.sampling.node_readers import NodeReaders
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.sampling.sample_pass import SamplePass
from dsray_inspect.agent.sampling.session_cache import SessionCache
from tests.unit.samples import actor, job
from tests.unit.test_kept_reports import COUNTERS, EVERYTHING, TRAINING
from tests.unit.test_session_cache import COLLECTIVES, NO_ENGINE

RANKS = 3
AWAY = "n1"
AT_REST_S: list[float | None] = [1.25]


class Ranks:
    """Ranks that answer at once; notes who was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def controller_parts(self, _run: RunHandle) -> tuple[()]:
        return ()

    def send(self, process: Any, _parts: object, _request: object) -> str:
        self.asked.append(process.actor_id)
        return str(process.actor_id)

    def answers(self, references: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        answer = {
            "threads": [TRAINING],
            "deepspeed": NO_ENGINE,
            "counters": COUNTERS,
            "environ": {"variables": {}, "set_after_exec": [], "from_parent": None},
            **COLLECTIVES,
        }
        return dict.fromkeys(references, answer)


class Host:
    """Has a reader on another node, which says how long threads have run by now."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.run_times_s: Mapping[int, list[float | None]] | None = {}
        """By pid; None where the reader does not answer."""

    def node_id(self) -> str:
        return "here"

    def start_reader(self, node_id: str, reader_class: type) -> str:
        self.started.append(node_id)
        return node_id

    def ask_reader(self, reader: Any, method: str, request: dict[str, Any]) -> Any:
        assert method == "run_times"
        return {
            "run_times_s": {pid: self.run_times_s[pid] for pid in request["watched"]}
            if self.run_times_s is not None
            else None
        }

    def answers(self, references: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        silent = CallFailed("it gave no answer")
        return {
            name: silent if answer["run_times_s"] is None else answer
            for name, answer in references.items()
        }


class Session:
    """Takes one sample after another of ranks that are all on another node."""

    def __init__(self) -> None:
        self.host, self.ranks, self.cache = Host(), Ranks(), SessionCache()
        self.readers = NodeReaders(self.host)
        self.rows = tuple(actor(number) for number in range(RANKS))

    def sample(self) -> Observation:
        node = NodeHandle(node_id=AWAY, ip="10.0.0.3", hostname=AWAY, alive=True, resources={})
        observation = Observation(
            job=job(),
            actors=RunHandle(generation="v2", controller=None, workers=self.rows),
            nodes=[node],
            request=EVERYTHING,
        )
        self.ranks.asked.clear()
        sample = SamplePass(self.ranks, self.readers, observation, self.cache, lambda: None)
        sample._send_calls()
        sample._collect(0.0)
        sample._at_rest.keep(self.rows)
        return observation


@pytest.fixture
def session() -> Session:
    """A session that has taken one sample, and has a reader on the node of the ranks."""
    session = Session()
    session.sample()
    assert session.ranks.asked == ["a0", "a1", "a2"]
    session.readers._agents[AWAY] = AWAY
    return session


def test_only_those_that_have_run_are_asked(session: Session) -> None:
    session.host.run_times_s = {100: AT_REST_S, 101: [9.0], 102: AT_REST_S}
    observation = session.sample()
    assert session.ranks.asked == ["a1"]
    assert all(isinstance(observation.ranks[row.actor_id], RankReport) for row in session.rows)


def test_all_are_asked_where_the_reader_does_not_answer(session: Session) -> None:
    session.host.run_times_s = None
    session.sample()
    assert session.ranks.asked == ["a0", "a1", "a2"]


def test_all_are_asked_where_no_reader_runs_and_none_is_started(session: Session) -> None:
    session.readers.forget(AWAY)
    session.sample()
    assert session.ranks.asked == ["a0", "a1", "a2"]
    assert session.host.started == []
