"""Markers and the cluster that all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.ray import processes
from tests.ray.cluster import Cluster

MARKERS = (
    "ray: starts a real Ray cluster (tests/ray)",
    "hosts: needs root, to make two hosts of one machine",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)

    # A shell ignores SIGINT for what it starts in the background, and so would what tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def nothing_left() -> Iterator[None]:
    """End what dead test runs left, and fail when this one leaves a process.

    Clusters that last for the session request it, so that it checks after the last has ended.
    """
    processes.sweep()
    yield
    # What was killed a moment ago may still be ending.
    processes.wait_until_equal(
        "the test run to leave nothing", [], lambda: processes.with_mark(processes.run_id())
    )


@pytest.fixture(scope="session")
def cluster(nothing_left: None) -> Iterator[Cluster]:
    """One node with 16 CPUs and 8 GPU slots; stop your jobs and leave it as it was."""
    with Cluster(num_cpus=16, num_gpus=8, warm=True) as shared:
        yield shared
