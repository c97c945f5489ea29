"""The cases of the fault suite that run in CI: right cause, right ranks, no false alarm."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.faults import catalog
from tests.faults.run import Score


@pytest.mark.parametrize("name", [case.name for case in catalog.named([], ci=True)])
def test_the_verdict_is_right(scores: dict[str, Future[list[Score]]], name: str) -> None:
    [score] = scores[name].result()
    assert score.cause_is_right, score
    assert score.culprit_is_right is not False, score
    assert not score.is_false_alarm, score
    if "straggler" in score.expected:
        assert score.state != "hung", "a slow rank still moves"
        assert not any(claim.startswith("hung") for claim in score.wrong_on_the_way), score
