"""Worlds of plain actors: ranks that nobody but the user's own driver knows of."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.ray.cluster import Cluster
from tests.ray.inspecting import take_snapshot, workers_by_rank
from tests.ray.jobs import Job

RANKS = 3
HANGS_AT = 6


@pytest.fixture(scope="module")
def hung_actors(cluster: Cluster) -> Iterator[Job]:
    """Three actors set their own variables and train; rank 1 sleeps, and a rollout actor waits."""
    job = cluster.submit(
        "--fault-rank", "1", "--fault-step", str(HANGS_AT), script="actors.py", cold=True
    )
    job.wait_until_step(1, HANGS_AT - 1)
    job.wait_until_stuck(ranks=RANKS)
    yield job
    assert job.status() == "RUNNING"
    job.stop()


def test_ls_has_the_world(cluster: Cluster, hung_actors: Job) -> None:
    rows = json.loads(cluster.inspect("ls", "--json").stdout)["runs"]
    [mine] = [row for row in rows if row["submission_id"] == hung_actors.submission_id]
    assert (mine["run_name"], mine["state"], mine["ranks"]) == ("PolicyActor", "RUNNING", RANKS)


def test_every_rank_is_found_in_its_actor(cluster: Cluster, hung_actors: Job) -> None:
    snapshot = take_snapshot(cluster, hung_actors)
    actors = {actor.pid for actor in hung_actors.actors("PolicyActor")}
    by_rank = workers_by_rank(snapshot)
    assert {rank: worker["pid"] for rank, worker in by_rank.items()} == hung_actors.pids()
    assert {worker["pid"] for worker in by_rank.values()} == actors
    assert {rank: worker["env"]["RANK"] for rank, worker in by_rank.items()} == {
        rank: {"value": str(rank), "source": "user_code"} for rank in range(RANKS)
    }
    assert by_rank[1]["function"]["name"] == "load_batch"
    assert snapshot["driver"]["waiting_on"].startswith("ray.get at actors.py")


def test_why_names_the_actor_that_does_not_come(cluster: Cluster, hung_actors: Job) -> None:
    done = cluster.inspect("why", hung_actors.submission_id, "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    verdict = told["verdict"]
    assert (verdict["cause"], verdict["ranks"]) == ("rank_blocked_in_user_code", [1])
    assert told["culprits"][0]["function"]["name"] == "load_batch"
    assert {victim["collective"]["operation"] for victim in told["victims"]} == {"all_reduce"}
    assert told["sure"] == "yes"


def test_nothing_runs_in_the_actors(cluster: Cluster, hung_actors: Job) -> None:
    refused = cluster.inspect("trace", hung_actors.submission_id)
    assert refused.returncode != 0
    assert "behind the actor's own methods" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_world_whose_runtime_env_has_its_place_is_healthy(cluster: Cluster) -> None:
    job = cluster.submit("--by", "runtime-env", script="actors.py", cold=True)

    for rank in range(RANKS):
        job.wait_until_step(rank, 3)

    done = cluster.inspect("why", job.submission_id, "--json")
    told = json.loads(done.stdout)
    assert told["verdict"]["state"] == "healthy", told["verdict"]
    assert done.returncode == 0
    snapshot = take_snapshot(cluster, job, "--no-inject")
    assert {rank: worker["pid"] for rank, worker in workers_by_rank(snapshot).items()} == job.pids()
