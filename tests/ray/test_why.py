"""`why` on real jobs that stand still: who is to blame, by the flight recorder's own numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ray import scenarios
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

Document = dict[str, Any]


def why(cluster: Cluster, job: Job) -> Document:
    done = cluster.inspect("why", job.submission_id, "--json")
    assert done.returncode in (0, 1), done.stderr
    document: Document = json.loads(done.stdout)
    return document


def settled(cluster: Cluster, job: Job, cause: str) -> Document:
    """Return the account once both of its looks name the cause: a stall takes time to be one."""
    found: list[Document] = []

    def named() -> bool:
        found.append(why(cluster, job))
        return bool(found[-1]["verdict"]["cause"] == cause and found[-1]["sure"] == "yes")

    job.wait_for(f"the cause {cause}, for sure", named)
    return found[-1]


@pytest.mark.parametrize(
    ("fault", "cause", "function"),
    [
        ("sleep", "rank_blocked_in_user_code", "load_batch"),
        ("barrier", "rank_divergence", "load_batch"),
        ("save", "rank_divergence", "teach"),
        ("leave", "rank_divergence", None),
    ],
)
def test_names_the_culprit_among_three(
    cluster: Cluster, fault: str, cause: str, function: str | None
) -> None:
    job = cluster.submit("--workers", "3", "--fault", fault)
    job.wait_until_stuck(after_step=19, ranks=3)

    try:
        told = settled(cluster, job, cause)
        text = cluster.inspect("why", job.submission_id)
    finally:
        job.stop()

    assert told["verdict"]["state"] == "hung"
    assert told["verdict"]["ranks"] == [1]
    culprit = told["culprits"][0]
    assert culprit["pid"] == job.pids()[1]
    assert (culprit["function"] or {}).get("name") == function
    assert sorted(one["rank"] for one in told["victims"]) == [0, 2]
    assert {one["collective"]["operation"] for one in told["victims"]} == {"all_reduce"}
    assert len({one["collective"]["sequence"] for one in told["victims"]}) == 1
    waiters = {edge["waiter"] for edge in told["graph"]["edges"] if "all_reduce" in edge["awaited"]}
    assert waiters == {"rank 0", "rank 2"}
    assert told["graph"]["roots"] == ["rank 1"]
    assert 0 < told["gives_up_in_s"] <= 1800
    assert text.returncode == 1
    assert len(text.stdout.splitlines()) <= 11, text.stdout
    assert f"pid {job.pids()[1]}" in text.stdout


def test_a_healthy_job_gets_two_lines(cluster: Cluster) -> None:
    job = scenarios.training(cluster)

    try:
        job.wait_for("a healthy look", lambda: why(cluster, job)["verdict"]["state"] == "healthy")
        text = cluster.inspect("why", job.submission_id)
    finally:
        job.stop()

    assert text.returncode == 0
    assert text.stdout.startswith("HEALTHY: 2 ranks at step ")
    assert len(text.stdout.splitlines()) == 2


def test_a_slow_rank_is_not_called_hung(cluster: Cluster) -> None:
    job = cluster.submit("--workers", "3", "--fault", "slow")
    job.wait_until_step(1, 24)

    try:
        states = {why(cluster, job)["verdict"]["state"] for _ in range(3)}
    finally:
        job.stop()

    assert states <= {"healthy", "degraded", "unknown"}
