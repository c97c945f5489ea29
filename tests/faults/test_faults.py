"""The cases of the fault suite that run in CI: right cause, right ranks, no false alarm."""

from __future__ import annotations

import pytest

from tests.faults import catalog, tools
from tests.faults.catalog import Case
from tests.faults.run import run
from tests.ray.cluster import Cluster

SEED = 1


@pytest.mark.parametrize("case", catalog.named([], ci=True), ids=lambda case: case.name)
def test_the_verdict_is_right(cluster: Cluster, case: Case) -> None:
    [score] = run(cluster, case, {"dsray-inspect": tools.tool("dsray-inspect")}, SEED)
    assert score.cause_is_right, score
    assert score.culprit_is_right is not False, score
    assert not score.is_false_alarm, score
    if "straggler" in score.expected:
        assert score.state != "hung", "a slow rank still moves"
        assert not any(claim.startswith("hung") for claim in score.wrong_on_the_way), score
