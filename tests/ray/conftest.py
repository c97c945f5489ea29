"""Clusters and hosts for the tests in this folder; each ends with its scope, and is checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.hosts import Host, TwoHosts, why_not


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("ray")
            item.add_marker(pytest.mark.timeout(600))
            # A shared machine may stand still for a while; what fails twice is wrong.
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def _ends_clean(nothing_left: None) -> None:
    """Look for what these tests leave after the last of them, whichever clusters they used."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Share one node with 8 CPUs and 8 GPU slots; stop your jobs, leave the cluster as it was."""
    with Cluster(num_cpus=8, num_gpus=8) as shared:
        yield shared


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[TwoHosts]:
    """Share two real hosts within a test module."""
    skip_without_hosts()
    with TwoHosts() as hosts:
        yield hosts


@pytest.fixture
def lone_host(tmp_path: Path) -> Iterator[Host]:
    """Make one empty host, where no other Ray can be seen."""
    skip_without_hosts()
    with Host("host-a", "127.0.0.1", folder=tmp_path, mark=f"{processes.run_id()}/lone") as host:
        yield host


def skip_without_hosts() -> None:
    if reason := why_not():
        pytest.skip(reason)
