"""Clusters and jobs that the tests in this folder share; each ends with its scope.

A job that several modules only look at is started once: `hung_job` and `healthy_job`. Tests that
change a job start one of their own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.ray import scenarios
from tests.ray.cluster import Cluster
from tests.ray.hosts import why_not
from tests.ray.jobs import Job

# pytest-xdist runs one group in one process. Tests that share a cluster or a job are in one
# group; hosts mostly wait, so they run beside tests that compute.
GROUPS = {
    "test_laptop": "hosts",
    "test_two_hosts": "hosts",
    "test_dashboards": "own jobs",
    "test_diff": "own jobs",
    "test_plain_actors": "own jobs",
    "test_serve": "own jobs",
    "test_start": "own jobs",
    "test_why": "own jobs",
    "test_demo": "no cluster",
    "test_engines": "no cluster",
}


RENEWED_S = 900.0
GLOO_S = 1700.0
"""So long gloo lets ranks wait, and a bit less: then a hung job ends by itself."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("ray")
            item.add_marker(pytest.mark.timeout(1200))
            if not item.get_closest_marker("xdist_group"):
                group = GROUPS.get(item.path.stem, "shared jobs")
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """End the jobs that fixtures have submitted before one of them failed."""
    before = len(Cluster.submitted)
    try:
        yield
    except BaseException:
        end_jobs(Cluster.submitted[before:])
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """End the jobs that a test has not ended itself: they would slow down all that follow."""
    before = len(Cluster.submitted)
    try:
        yield
    finally:
        end_jobs(Cluster.submitted[before:])


def end_jobs(jobs: Sequence[Job]) -> None:
    for job in jobs:
        with contextlib.suppress(Exception):  # of a cluster that has ended there is nothing to end
            if job.status() in ("PENDING", "RUNNING"):
                job.stop()


@pytest.fixture(scope="session", autouse=True)
def _ends_clean(nothing_left: None) -> None:
    """Look for what these tests leave after the last of them, whichever clusters they used."""


@pytest.fixture(scope="session")
def guarded_cluster() -> Iterator[Cluster]:
    """A cluster without a job that wants a token; the token is in the home of its owner."""
    with Cluster(num_cpus=1, num_gpus=0, auth="token") as guarded:
        yield guarded


class HungJob:
    """The job that hangs, and how it was when it had come to hang."""

    def __init__(self, cluster: Cluster) -> None:
        self.job = scenarios.asleep_in_user_code(
            *(cluster, "--gpus", "1", "--talk", "--note", scenarios.SECRET_ARGUMENT),
            step=scenarios.HANG_STEP,
            env=scenarios.SECRETS,
        )
        self._started = self._starts()

    @property
    def age_s(self) -> float:
        return time.time() - self.job.submitted_at

    def _starts(self) -> dict[int, float]:
        return {rank: psutil.Process(pid).create_time() for rank, pid in self.job.pids().items()}

    def close(self) -> None:
        """Stop the job, which must be as it was, unless nobody has asked for it for too long."""
        if self.age_s > GLOO_S:
            self.job.stop()
            return

        assert self.job.status() == "RUNNING"
        assert self._starts() == self._started, "a test has replaced a rank"
        assert {len(self.job.steps(rank)) for rank in (0, 1)} == {scenarios.HANG_STEP}
        self.job.stop()


@pytest.fixture(scope="session")
def hung_jobs(cluster: Cluster) -> Iterator[list[HungJob]]:
    """The hung job, none before it is first wanted."""
    jobs: list[HungJob] = []
    yield jobs
    for hung in jobs:
        hung.close()


@pytest.fixture(scope="module")
def hung_job(cluster: Cluster, hung_jobs: list[HungJob]) -> Job:
    """Rank 1 sleeps in `load_batch`, rank 0 waits for it in ZeRO-2's reduction.

    Secrets are in its runtime environment, on its command line and in what it prints. Leave it
    as you found it: it is compared at the end. It is renewed before gloo gives up, after half an
    hour.
    """
    if hung_jobs and hung_jobs[0].age_s > RENEWED_S:
        hung_jobs.pop().close()

    if not hung_jobs:
        hung_jobs.append(HungJob(cluster))

    return hung_jobs[0].job


@pytest.fixture(scope="session")
def healthy_job(cluster: Cluster) -> Iterator[Job]:
    """Two ranks train with ZeRO-2 and share one GPU slot; leave them training."""
    job = scenarios.training(cluster, "--gpus", "0.5", "--step-sleep-s", "0.1")
    pids = job.pids()
    yield job
    job.assert_moving()
    assert job.pids() == pids, "a test has replaced a rank"
    job.stop()


def skip_without_hosts() -> None:
    if reason := why_not():
        pytest.skip(reason)
