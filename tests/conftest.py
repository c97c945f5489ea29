"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ray import processes

MARKERS = (
    "ray: starts a real Ray cluster (tests/ray)",
    "hosts: needs root, to make two hosts of one machine",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture(scope="session")
def nothing_left() -> Iterator[None]:
    """End what dead test runs left, and fail this one when it leaves a process.

    Clusters of a whole session ask for it, so that it looks after the last of them has ended.
    """
    processes.sweep()
    yield
    # What was killed a moment ago may still be ending.
    processes.wait_until_equal(
        "the test run to leave nothing", [], lambda: processes.with_mark(processes.run_id())
    )
