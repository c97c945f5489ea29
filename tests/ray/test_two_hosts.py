"""Two hosts in one Ray cluster: what is seen of each, and what is left when the link is cut."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.ray import processes
from tests.ray.cluster import checked
from tests.ray.conftest import skip_without_hosts
from tests.ray.hosts import TwoHosts
from tests.ray.inspecting import (
    Snapshot,
    layers_entered,
    take_snapshot,
    take_whole_snapshot,
    training_frames,
    workers_by_rank,
)
from tests.ray.jobs import Job
from tests.ray.test_trace import of_rank, whole

pytestmark = pytest.mark.hosts

RANKS = 3


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[TwoHosts]:
    """Two hosts with two GPU slots each; mend the link that you cut."""
    skip_without_hosts()
    with TwoHosts() as hosts:
        yield hosts
    assert not processes.with_mark(hosts.mark)
    assert not hosts.dir.exists()


@pytest.fixture(scope="module")
def spread_job(two_hosts: TwoHosts) -> Iterator[Job]:
    """Three ranks train on two hosts, because each has two of the GPU slots they need."""
    job = two_hosts.submit(
        "--workers", str(RANKS), "--gpus", "1", "--talk", "--step-sleep-s", "0.1"
    )
    for rank in range(RANKS):
        job.wait_until_step(rank, 2)
    yield job
    two_hosts.mend()
    job.assert_moving(ranks=RANKS)
    assert job.stop() == "STOPPED"


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


def hostnames(two_hosts: TwoHosts, snapshot: Snapshot) -> dict[int, str]:
    """Return the host of each rank, by the dashboard."""
    return {
        rank: two_hosts.host_of(worker["node_id"]).name
        for rank, worker in workers_by_rank(snapshot).items()
    }


def test_places_every_rank_on_its_host(two_hosts: TwoHosts, spread_job: Job) -> None:
    snapshot = take_snapshot(two_hosts, spread_job)
    ranks = workers_by_rank(snapshot)

    assert {rank: worker["pid"] for rank, worker in ranks.items()} == spread_job.pids()
    actors = {(actor.pid, actor.node_id) for actor in spread_job.actors()}
    assert {(worker["pid"], worker["node_id"]) for worker in ranks.values()} == actors
    homes = {rank: worker["hostname"] for rank, worker in ranks.items()}
    assert homes == hostnames(two_hosts, snapshot)
    assert set(homes.values()) == {"host-a", "host-b"}
    ips = {"host-a": two_hosts.a.ip, "host-b": two_hosts.b.ip}
    assert all(worker["node_ip"] == ips[worker["hostname"]] for worker in ranks.values())
    slots = sorted((worker["hostname"], worker["gpus"][0]["slot"]) for worker in ranks.values())
    assert len(set(slots)) == RANKS
    assert all(worker["gpus"][0]["visible"] is not None for worker in ranks.values())


def test_reads_the_ranks_of_both_hosts(two_hosts: TwoHosts, spread_job: Job) -> None:
    snapshot = take_whole_snapshot(two_hosts, spread_job)

    for rank, worker in workers_by_rank(snapshot).items():
        assert worker["evidence"]["worker"] == worker["evidence"]["stack"] == "ok"
        assert worker["env"]["RANK"] == {"value": str(rank), "source": "ray_train"}
        assert worker["env"]["GLOO_SOCKET_IFNAME"] == {"value": "eth0", "source": "runtime_env"}
        assert {"ray_train", "user"} <= set(layers_entered(training_frames(snapshot)[rank]))
        # On a busy machine a stack may be read from outside before the rank answers.
        assert worker["stack_source"] in ("in-process", "py-spy")


def test_reads_from_outside_through_an_agent_on_the_other_host(
    two_hosts: TwoHosts, spread_job: Job
) -> None:
    snapshot = take_snapshot(two_hosts, spread_job, "--no-inject")
    agents = {node["hostname"]: node["agent"]["state"] for node in snapshot["nodes"]}
    assert agents == {"host-a": "local", "host-b": "actor"}

    for rank, worker in workers_by_rank(snapshot).items():
        assert worker["stack_source"] == "py-spy"
        assert worker["env"]["RANK"]["value"] == str(rank)
        assert worker["function"]["file"].endswith("tests/jobs/train.py")


def test_reads_the_logs_of_the_other_host_there(two_hosts: TwoHosts, spread_job: Job) -> None:
    homes = hostnames(two_hosts, take_snapshot(two_hosts, spread_job))
    rank = next(rank for rank, host in homes.items() if host == "host-b")
    words = ("stacks", "--json", "--address", two_hosts.address, spread_job.submission_id)
    done = two_hosts.a.run("dsray-inspect", *words, "--log", "--rank", str(rank))
    assert done.returncode == 0, done.stderr
    log = json.loads(done.stdout)["logs"][str(rank)]
    assert (log["hostname"], log["why"]) == ("host-b", "ok")
    lines = [line for file in log["files"] for line in file["lines"]]
    assert any(f"rank {rank} begins step" in line for line in lines)
    assert "planted-word" not in done.stdout


def test_attaches_from_the_host_that_is_not_the_head(two_hosts: TwoHosts, spread_job: Job) -> None:
    snapshot = take_whole_snapshot(two_hosts, spread_job, on=two_hosts.b)
    assert {worker["evidence"]["worker"] for worker in snapshot["workers"]} == {"ok"}
    agents = {node["hostname"]: node["agent"]["state"] for node in snapshot["nodes"]}
    assert agents == {"host-a": "actor", "host-b": "local"}, "the driver is on host-a"
    assert "fit()" in snapshot["driver"]["waiting_on"]


def test_no_agent_stays(two_hosts: TwoHosts, spread_job: Job) -> None:
    take_snapshot(two_hosts, spread_job, "--no-inject")
    two_hosts.wait_until_gone("NodeAgent")


def test_a_killed_attacher_takes_its_agent_along(two_hosts: TwoHosts, spread_job: Job) -> None:
    argv = ["dsray-inspect", "stacks", "--native", "--address", two_hosts.address]
    attacher = subprocess.Popen(
        two_hosts.a.inside(*argv, spread_job.submission_id),
        env=two_hosts.a.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    two_hosts.wait_until_there("NodeAgent")
    inside = psutil.Process(attacher.pid).children()  # nsenter only waits for it
    assert [child.cmdline()[1].rpartition("/")[2] for child in inside] == ["dsray-inspect"]
    inside[0].kill()
    attacher.wait()
    two_hosts.wait_until_gone("NodeAgent")
    spread_job.assert_moving(ranks=RANKS)


def test_a_cut_link_leaves_one_host_to_see(two_hosts: TwoHosts, spread_job: Job) -> None:
    before = take_snapshot(two_hosts, spread_job)
    homes = {rank: worker["hostname"] for rank, worker in workers_by_rank(before).items()}
    two_hosts.cut()

    try:
        snapshot = take_snapshot(two_hosts, spread_job)
    finally:
        two_hosts.mend()

    for rank, worker in workers_by_rank(snapshot).items():
        seen = worker["evidence"]["stack"] == "ok"
        assert seen == (homes[rank] == "host-a"), worker["evidence"]
        assert worker["hostname"] == homes[rank]

    spread_job.assert_moving(ranks=RANKS)
    take_whole_snapshot(two_hosts, spread_job)  # the other host is back


def test_a_silent_controller_leaves_the_ranks_behind_a_cut_link_known(
    two_hosts: TwoHosts, spread_job: Job
) -> None:
    before = take_snapshot(two_hosts, spread_job)
    homes = {rank: worker["hostname"] for rank, worker in workers_by_rank(before).items()}
    controller = str(before["controller"]["pid"])
    checked(two_hosts.a.run("kill", "-STOP", controller))
    two_hosts.cut()

    try:
        snapshot = take_snapshot(two_hosts, spread_job)
    finally:
        two_hosts.mend()
        checked(two_hosts.a.run("kill", "-CONT", controller))

    seen = {rank: worker["hostname"] for rank, worker in workers_by_rank(snapshot).items()}
    assert seen == homes
    spread_job.assert_moving(ranks=RANKS)


def test_why_blames_the_host_behind_a_cut_link(two_hosts: TwoHosts, spread_job: Job) -> None:
    homes = {
        rank: worker["hostname"]
        for rank, worker in workers_by_rank(take_snapshot(two_hosts, spread_job)).items()
    }
    two_hosts.cut()

    try:
        done = two_hosts.inspect("why", spread_job.submission_id, "--json")
    finally:
        two_hosts.mend()

    assert done.returncode == 1, done.stderr
    explained = json.loads(done.stdout)
    assert explained["verdict"]["cause"] in ("network_unreachable", "node_lost"), explained[
        "verdict"
    ]
    behind = [rank for rank, home in homes.items() if home == "host-b"]
    assert sorted(explained["verdict"]["ranks"]) == sorted(behind)
    assert "host-b" in explained["verdict"]["summary"]
    spread_job.assert_moving(ranks=RANKS)


def test_finds_the_ranks_among_plain_actors_of_both_hosts(two_hosts: TwoHosts) -> None:
    job = two_hosts.submit("--fault-rank", "1", script="actors.py")
    job.wait_until_step(1, 5)
    job.wait_until_stuck(ranks=RANKS)
    ranks = workers_by_rank(take_snapshot(two_hosts, job))
    assert {rank: worker["pid"] for rank, worker in ranks.items()} == job.pids()
    assert {worker["hostname"] for worker in ranks.values()} == {"host-a", "host-b"}
    done = two_hosts.inspect("why", job.submission_id, "--json")
    verdict = json.loads(done.stdout)["verdict"]
    assert (verdict["cause"], verdict["ranks"]) == ("rank_blocked_in_user_code", [1])
    assert job.stop() == "STOPPED"
    two_hosts.wait_until_gone("NodeAgent")


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
