"""The test infrastructure itself: jobs are in the states they should be in, and nothing is left.

That a job moves until it is stopped, and that its workers end then, is in test_killed.py; a
cluster with a token and two nodes in test_two_nodes.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.ray import processes, scenarios, warm
from tests.ray.drivers import LocalDriver
from tests.ray.hosts import why_not
from tests.ray.jobs import Job

KILLED_RUN = """
import os, signal
from tests.ray.cluster import Cluster
Cluster(warm=True).__enter__()
print(flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_stuck_job_is_stuck_where_it_should_be(hung_job: Job) -> None:
    pids = hung_job.pids()
    processes.wait_for("rank 0 to wait", lambda: processes.is_in(pids[0], "all_reduce"))
    assert processes.is_in(pids[1], "load_batch")


def test_a_forked_worker_is_as_one_that_was_started(hung_job: Job) -> None:
    for pid in hung_job.pids().values():
        worker = psutil.Process(pid)
        parent = worker.parent()
        assert parent is not None
        assert parent.environ()[warm.SOCKET], "it was not forked"
        environ = worker.environ()
        assert environ.items() >= scenarios.SECRETS.items()
        assert "RAY_JOB_ID" in environ
        assert environ.keys().isdisjoint((warm.SOCKET, "PYTHONPATH"))
        assert worker.cmdline()[0].startswith("ray::RayTrainWorker")
        *_, loop, outermost = processes.stacks(pid)["MainThread"]
        assert loop.endswith("main_loop")
        assert outermost == "<module>"


@pytest.mark.skipif(why_not() is None, reason="test_laptop.py checks it on a host of its own")
def test_a_script_with_its_own_ray_makes_a_token() -> None:
    with LocalDriver("--step-sleep-s", "0.1") as driver:
        driver.wait_until_step(1, 1)
        assert driver.token_path.exists()
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
