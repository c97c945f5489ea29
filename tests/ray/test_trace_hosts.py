"""`trace` across two hosts: each rank's spans come from its own host, and tell of the same steps."""

from __future__ import annotations

import json

import pytest

from tests.ray.hosts import TwoHosts
from tests.ray.test_trace import of_rank, whole

pytestmark = pytest.mark.hosts


def test_traces_the_ranks_of_both_hosts(two_hosts: TwoHosts) -> None:
    # Three slots of two a host: one rank at least is on each.
    job = two_hosts.submit("--workers", "3", "--gpus", "1", "--step-sleep-s", "0.05")

    for rank in range(3):
        job.wait_until_step(rank, 2)

    nodes = {actor.pid: actor.node_id for actor in job.actors()}
    done = two_hosts.inspect("trace", job.submission_id, "--json", "--seconds", "4")
    job.assert_moving(ranks=3)
    job.stop()
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["notes"] == []
    seen: list[set[int]] = []

    for rank, pid in job.pids().items():
        (place,) = [one for one in document["timeline"]["processes"] if one["rank"] == rank]
        host = two_hosts.host_of(nodes[pid])
        assert (place["node_id"], place["hostname"]) == (nodes[pid], host.name)
        assert place["node_ip"] == host.ip
        steps = whole(of_rank(document, rank), "step")
        numbers = [span["step"] for span in steps]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        seen.append(set(numbers))

    assert {one["hostname"] for one in document["timeline"]["processes"]} == {"host-a", "host-b"}
    # They go through each step together: the window's edges may cut one off.
    shared = set.intersection(*seen)
    assert len(shared) >= 3
    assert all(len(one - shared) <= 2 for one in seen), seen
