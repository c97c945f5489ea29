"""Run the cases for CI, several jobs at once on the shared cluster; each test reads its own score."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults import catalog, tools
from tests.faults.run import Score, run
from tests.ray.cluster import Cluster

AT_ONCE = 2
SEED = 1


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "scores" in getattr(item, "fixturenames", ()):
            item.add_marker("ray")
            item.add_marker(pytest.mark.timeout(1800))
            # The group of the tests in tests/ray that start jobs of their own.
            item.add_marker(pytest.mark.xdist_group("own jobs"))


@pytest.fixture(scope="session")
def scores(
    request: pytest.FixtureRequest, cluster: Cluster
) -> Iterator[dict[str, Future[list[Score]]]]:
    """Start the chosen cases, and return the future score of each by its name."""
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if hasattr(item, "callspec") and "name" in item.callspec.params
    }
    ours = {"dsray-inspect": tools.tool("dsray-inspect")}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            case.name: pool.submit(run, cluster, case, ours, SEED)
            for case in catalog.named([], ci=True)
            if case.name in asked
        }
