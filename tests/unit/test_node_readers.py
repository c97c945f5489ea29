"""Readers on other nodes: who is waited for, and who is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.launchers.base import CallFailed
from dsray_inspect.agent.sampling.node_readers import ExternalReadBatch, NodeReaders
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.unavailable import Unavailable
from tests.unit.samples import job

CUT_OFF, AWAY = "cut-off", "away"
WHY = Unavailable(reason="timeout", detail="no answer from 10.0.0.2:1 in 1 s")


class Host:
    """Starts readers on other nodes; notes whose answers are waited for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waited: list[str] = []

    def node_id(self) -> str:
        return "here"

    def start_reader(self, node_id: str, reader_class: type) -> Any:
        return node_id

    def ask_reader(self, reader: Any, method: str, request: dict[str, Any]) -> Any:
        self.asked.append(reader)
        return reader

    def answers(self, references: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        self.waited += references.values()
        return {name: CallFailed("it gave no answer") for name in references}


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def batch(host: Host) -> ExternalReadBatch:
    nodes = [
        NodeHandle(node_id=node_id, ip=ip, hostname=node_id, alive=True, resources={})
        for node_id, ip in ((CUT_OFF, "10.0.0.2"), (AWAY, "10.0.0.3"))
    ]
    observation = Observation(
        job=job(), actors=None, nodes=nodes, request=SampleRequest(max_pause_ms=100)
    )
    batch = ExternalReadBatch(NodeReaders(host), observation)

    for node_id in (CUT_OFF, AWAY):
        batch.want(node_id, 7, stack=True)

    batch.start()
    return batch


def test_a_node_that_cannot_be_reached_is_not_waited_for(
    host: Host, batch: ExternalReadBatch
) -> None:
    batch.give_up({CUT_OFF: WHY})
    batch.take_all()
    assert host.waited == [AWAY]
    agents = batch._observation.agents
    assert (agents[CUT_OFF].state, agents[CUT_OFF].detail) == ("failed", WHY.detail)


def test_a_node_without_an_answer_is_asked_once_in_a_sample(
    host: Host, batch: ExternalReadBatch
) -> None:
    batch.take_all()
    batch.want(AWAY, 8, recorder=True)
    batch.start()
    assert host.asked == [CUT_OFF, AWAY]
