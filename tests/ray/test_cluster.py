"""The test infrastructure itself: jobs move, states are real, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ray import processes, scenarios
from tests.ray.cluster import Cluster
from tests.ray.drivers import LocalDriver

KILLED_RUN = """
import os, signal
from tests.ray.cluster import Cluster
Cluster().__enter__()
print(flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_job_advances_until_it_is_stopped(cluster: Cluster) -> None:
    job = scenarios.training(cluster, "--gpus", "1")
    job.assert_moving()
    workers = job.actors()
    assert sorted(job.pids().values()) == [worker.pid for worker in workers]
    assert job.stop() == "STOPPED"
    processes.wait_for(
        "the workers to be gone", lambda: not any(os.path.exists(f"/proc/{w.pid}") for w in workers)
    )


def test_a_stuck_job_is_stuck_where_it_should_be(cluster: Cluster) -> None:
    job = scenarios.asleep_in_user_code(cluster)
    pids = job.pids()
    processes.wait_for("rank 0 to wait", lambda: processes.is_in(pids[0], "all_reduce"))
    assert processes.is_in(pids[1], "load_batch")
    job.stop()


def test_a_cluster_with_a_token_and_two_nodes_leaves_nothing() -> None:
    with Cluster(num_cpus=2, num_gpus=1, auth="token", second_node=True) as own:
        # Two workers of 2 CPUs fit on two nodes only.
        job = own.submit("--cpus", "2", "--steps", "5")
        assert job.wait_until_ended() == "SUCCEEDED", job.logs()
        assert [len(job.steps(rank)) for rank in (0, 1)] == [5, 5]
        refused = own.run(
            "ray", "job", "list", "--address", own.url, env={"RAY_AUTH_MODE": "disabled"}
        )
        assert refused.returncode != 0
    assert not processes.with_mark(own.mark)
    assert not own.dir.exists()


def test_a_script_with_its_own_ray_makes_a_token() -> None:
    with LocalDriver("--step-sleep-s", "0.1") as driver:
        driver.wait_until_step(1, 1)
        assert (driver.dir / "home" / ".ray" / "auth_token").exists()
    assert not processes.with_mark(driver.mark)


@pytest.mark.skipif(not Path("/usr/bin/setpriv").exists(), reason="needs util-linux's setpriv")
def test_a_killed_test_run_takes_its_cluster_along() -> None:
    run = subprocess.Popen([sys.executable, "-c", KILLED_RUN], stdout=subprocess.PIPE)
    mark = processes.run_id(run.pid)
    assert run.stdout is not None
    with run, run.stdout:
        assert run.stdout.readline()
        assert run.wait() == -signal.SIGKILL
    processes.wait_for("its cluster to end", lambda: not processes.with_mark(mark), timeout=60)
    processes.sweep()
    assert not [
        owner for owner in Path("/tmp").glob("dsray-t*/run_id") if owner.read_text() == mark
    ]
