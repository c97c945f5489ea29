"""`trace` across two hosts: each rank's spans come from its own host, and cover the same steps."""

from __future__ import annotations

import json

import pytest

from tests.ray.hosts import TwoHosts
from tests.ray.jobs import Job
from tests.ray.test_trace import of_rank, whole

pytestmark = pytest.mark.hosts


def test_traces_the_ranks_of_both_hosts(two_hosts: TwoHosts, spread_job: Job) -> None:
    nodes = {actor.pid: actor.node_id for actor in spread_job.actors()}
    done = two_hosts.inspect("trace", spread_job.submission_id, "--json", "--seconds", "4")
    spread_job.assert_moving(ranks=3)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["notes"] == []
    steps_of_ranks: list[set[int]] = []

    for rank, pid in spread_job.pids().items():
        (place,) = [
            process for process in document["timeline"]["processes"] if process["rank"] == rank
        ]
        host = two_hosts.host_of(nodes[pid])
        assert (place["node_id"], place["hostname"]) == (nodes[pid], host.name)
        assert place["node_ip"] == host.ip
        steps = whole(of_rank(document, rank), "step")
        numbers = [span["step"] for span in steps]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        steps_of_ranks.append(set(numbers))

    assert {process["hostname"] for process in document["timeline"]["processes"]} == {
        "host-a",
        "host-b",
    }
    # They go through each step together: the window's edges may cut a step off.
    shared = set.intersection(*steps_of_ranks)
    assert len(shared) >= 3
    assert all(len(numbers - shared) <= 2 for numbers in steps_of_ranks), steps_of_ranks
