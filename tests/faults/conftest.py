"""One run of the cases that CI has, several jobs at once on one cluster; each test reads its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults import catalog, tools
from tests.faults.run import Score, run
from tests.ray.cluster import Cluster

AT_ONCE = 3
SEED = 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "scores" in getattr(item, "fixturenames", ()):
            item.add_marker("ray")
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def scores(
    request: pytest.FixtureRequest, nothing_left: None
) -> Iterator[dict[str, Future[list[Score]]]]:
    """Start the cases that were chosen, and give what each of them will score."""
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if hasattr(item, "callspec") and "name" in item.callspec.params
    }
    ours = {"dsray-inspect": tools.tool("dsray-inspect")}

    with Cluster(num_cpus=16, num_gpus=8) as cluster, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            case.name: pool.submit(run, cluster, case, ours, SEED)
            for case in catalog.named([], ci=True)
            if case.name in asked
        }
