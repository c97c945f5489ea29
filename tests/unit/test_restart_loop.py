"""Runs that Ray Train starts again."""

from __future__ import annotations

from typing import Any

import pytest

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.verdict import judge
from tests.unit.endings import ACCOUNT, PEER, policy
from tests.unit.samples import IN_USER, rank, sample_of


def retry(*snippets: tuple[str, str], decision: str = "RETRY") -> str:
    return policy(*snippets).replace("RAISE", decision, 1)


def again(*log: tuple[float, str], at: float, workers: str = "DEAD") -> Snapshot:
    """Return the verdict at a time on a run with this log, whose workers are in this state."""
    account = [{"at": seconds, "message": message} for seconds, message in log]
    told = {"processes": {}, "post_mortem": {"train_log": account}}
    if workers == "DEAD":
        ranks: tuple[Any, ...] = ("the actor is dead", "the actor is dead")
    else:
        ranks = (rank(0, IN_USER, 0.1), rank(1, IN_USER, 0.1))

    changes = {number: {"state": workers} for number in range(2)}
    sample = sample_of(*ranks, actors=changes, node_answers={"n1": told})
    sample.observation.taken_at = at
    return judge(assemble(sample.observation))


def parse(value: str) -> tuple[str, str]:
    frame = 'File "/app/train.py", line 12, in parse_record\n    return int(x)\n'
    stdlib = 'File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n    raise\n'
    return "1", f"{frame}{stdlib}ValueError: {value}"


LOOP = [
    entry
    for number in range(4)
    for entry in (
        (100.0 + 30 * number, ACCOUNT),
        (109.0 + 30 * number, retry(("0", PEER), parse(str(number)))),
    )
]


@pytest.mark.parametrize("workers", ["DEAD", "ALIVE"])
def test_a_run_that_fails_of_the_same_each_time_is_in_a_loop(workers: str) -> None:
    log = LOOP if workers == "DEAD" else [*LOOP, (220.0, ACCOUNT)]
    snapshot = again(*log, at=225.0, workers=workers)
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("degraded", "restart_loop")
    assert snapshot.verdict.ranks == (1,)
    assert snapshot.verdict.summary == (
        "The run is at attempt 5; the last 4 failed within 9.0 s in parse_record (train.py:12) on "
        "rank 1: ValueError: 3"
    )


def test_an_attempt_that_has_outlived_those_before_it_has_left_the_loop() -> None:
    assert again(*LOOP, (220.0, ACCOUNT), at=400.0, workers="ALIVE").findings == ()


def test_failures_that_differ_are_no_loop() -> None:
    other = ("1", 'File "/app/train.py", line 90, in save\n    x\nOSError: full')
    log = [*LOOP[:6], (190.0, ACCOUNT), (199.0, retry(other))]
    assert again(*log, at=205.0).findings == ()


def test_a_run_that_ray_train_retries_has_not_failed() -> None:
    snapshot = again(*LOOP[:2], at=111.0)
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("starting", None)
    assert snapshot.verdict.summary == (
        "Ray Train starts attempt 2; the last one failed: "
        "RuntimeError: Read error [127.0.0.1]:1: Connection reset by peer. GLHF!"
    )


def test_a_run_that_ray_train_gives_up_has_failed_after_so_many_attempts() -> None:
    log = [*LOOP, (220.0, ACCOUNT), (229.0, retry(parse("4"), decision="RAISE"))]
    snapshot = again(*log, at=231.0)
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("failed", "worker_dead")
    assert "train.py:12" in snapshot.verdict.summary
    assert "Ray Train gave up after 5 attempts" in snapshot.findings[0].evidence
