"""Nodes and addresses that do not answer."""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.unavailable import Unavailable
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import INIT, RUNNER, rank, sample_of, twice, waits, with_progress


def unanswered(ip: str) -> Unavailable:
    return Unavailable(reason="timeout", detail=f"no answer from {ip}:7000 in 1 s")


def test_a_node_that_does_not_answer_is_told_with_its_ranks() -> None:
    sample = sample_of(waits(0), "its main thread did not answer", actors={1: {"node_id": "n2"}})
    sample.observation.nodes.append(
        NodeHandle(node_id="n2", ip="10.0.0.2", hostname="host-b", alive=True, resources={})
    )
    sample.observation.unreachable = {"n2": unanswered("10.0.0.2")}
    snapshot = judge(assemble(sample.observation))
    assert snapshot.verdict.cause == "network_unreachable"
    assert "host-b (10.0.0.2)" in snapshot.verdict.summary


def test_nodes_that_do_not_answer_are_told_together() -> None:
    silent = "its main thread did not answer"
    sample = sample_of(
        waits(0), silent, silent, actors={1: {"node_id": "n2"}, 2: {"node_id": "n3"}}
    )

    for number in (2, 3):
        ip = f"10.0.0.{number}"
        sample.observation.nodes.append(
            NodeHandle(node_id=f"n{number}", ip=ip, hostname=f"h{number}", alive=True, resources={})
        )
        sample.observation.unreachable[f"n{number}"] = unanswered(ip)

    [finding] = judge(assemble(sample.observation)).findings
    assert (finding.cause, finding.next_step) == ("network_unreachable", "ping 10.0.0.2")
    assert "2 nodes, h2 (10.0.0.2), h3 (10.0.0.3)," in finding.summary
    assert "the raylet of h3 (10.0.0.3): no answer from 10.0.0.3:7000 in 1 s" in finding.evidence


def test_ranks_that_dial_one_address_are_told_together() -> None:
    def dials(number: int) -> dict[str, Any]:
        answer = rank(number, (RUNNER, INIT), 8)
        return with_progress(answer, dials=["10.9.9.9:29500"])

    [finding] = [
        finding
        for finding in twice(rank(0, (RUNNER, INIT), 8), dials(1), dials(2)).findings
        if finding.cause == "network_unreachable"
    ]
    assert finding.ranks == (1, 2)
    assert finding.summary == "Ranks 1-2 are connecting to 10.9.9.9:29500, and nothing answers."
