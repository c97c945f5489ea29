"""The two hosts of the tests: separate machines in one Ray cluster, with a link that can be cut.

That they leave nothing is checked when they end, in tests/ray/conftest.py.
"""

from __future__ import annotations

import pytest

from tests.ray import processes
from tests.ray.hosts import TwoHosts
from tests.ray.jobs import Job

pytestmark = pytest.mark.hosts


def test_ranks_train_on_both_hosts_and_wait_while_the_link_is_cut(
    two_hosts: TwoHosts, spread_job: Job
) -> None:
    homes = [two_hosts.host_of(actor.node_id).name for actor in spread_job.actors()]
    assert set(homes) == {"host-a", "host-b"}

    two_hosts.cut()
    try:
        spread_job.wait_until_stuck(ranks=3)
        functions = [
            processes.names(two_hosts.host_of(actor.node_id).stacks(actor.pid))
            for actor in spread_job.actors()
        ]
    finally:
        two_hosts.mend()
    spread_job.assert_moving(ranks=3)
    waits = {"all_reduce", "all_gather_into_tensor"}
    assert any(names & waits for names in functions), functions


def test_each_host_sees_only_itself(two_hosts: TwoHosts) -> None:
    for host in (two_hosts.a, two_hosts.b):
        assert host.run("hostname").stdout.strip() == host.name
        assert host.run("ip", "-br", "address", "show", "eth0").stdout.split()[2] == f"{host.ip}/24"
        assert host.run("ps", "-eo", "args").stdout.count("raylet/raylet ") == 1
