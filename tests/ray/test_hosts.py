"""Two hosts: apart in all that matters, one Ray cluster, and a link that can be cut."""

from __future__ import annotations

import pytest

from tests.ray import processes
from tests.ray.drivers import LocalDriver
from tests.ray.hosts import Host, TwoHosts

pytestmark = pytest.mark.hosts


def test_ranks_train_on_both_hosts_and_wait_while_the_link_is_cut(two_hosts: TwoHosts) -> None:
    job = two_hosts.submit("--workers", "3", "--gpus", "1")
    for rank in range(3):
        job.wait_until_step(rank, 2)
    homes = [two_hosts.host_of(actor.node_id).name for actor in job.actors()]
    assert set(homes) == {"host-a", "host-b"}

    two_hosts.cut()
    job.wait_until_stuck(ranks=3)
    seen = [
        processes.names(two_hosts.host_of(actor.node_id).stacks(actor.pid))
        for actor in job.actors()
    ]
    two_hosts.mend()
    job.assert_moving(ranks=3)
    assert any(names & {"all_reduce", "all_gather_into_tensor"} for names in seen), seen
    assert job.stop() == "STOPPED"


def test_each_host_sees_only_itself(two_hosts: TwoHosts) -> None:
    for host in (two_hosts.a, two_hosts.b):
        assert host.run("hostname").stdout.strip() == host.name
        assert host.run("ip", "-br", "address", "show", "eth0").stdout.split()[2] == f"{host.ip}/24"
        assert host.run("ps", "-eo", "args").stdout.count("raylet/raylet ") == 1


def test_a_script_is_the_only_ray_of_a_lone_host(lone_host: Host) -> None:
    with LocalDriver("--step-sleep-s", "0.1", host=lone_host) as driver:
        driver.wait_until_step(1, 1)
        status = driver.run("ray", "status", env={"RAY_AUTH_MODE": "token"})
        assert "Active:" in status.stdout, status.stderr


def test_hosts_leave_nothing() -> None:
    with TwoHosts(num_cpus=1, num_gpus=0) as own:
        assert own.nodes() == {"host-a": "ALIVE", "host-b": "ALIVE"}
    assert not processes.with_mark(own.mark)
    assert not own.dir.exists()
