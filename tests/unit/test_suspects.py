"""Ranks that have ended: whom the errors of the others point at."""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.handles import Submission
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.verdict import judge
from tests.unit.endings import ended, policy
from tests.unit.samples import job, sample_of

NCCL = (
    "[Rank {}] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=57) ran for 600001 ms"
)
GAVE_UP = "RuntimeError: Timed out waiting 1800000ms for recv operation to complete"


def after_the_fact(*snippets: tuple[str, str], words: dict[str, Any] | None = None) -> Snapshot:
    """Return what is said of three ranks that have ended with these errors and last words."""
    group = "\n".join(
        ["Started training worker group of size 3:"]
        + [
            f"- (ip=10.0.0.1, pid={100 + rank}) world_rank={rank}, local_rank=0"
            for rank in range(3)
        ]
    )
    texts = (group, policy(*snippets)) if snippets else (group,)
    account = [{"at": float(at), "message": text} for at, text in enumerate(texts)]
    kept = {"train_log": account, "last_words": words or {}, "oom_killed": []}
    exits = {worker: ended(int(worker[1]), "SYSTEM_ERROR", 5.0) for worker in words or {}}
    sample = sample_of(
        *["the actor is dead"] * 3,
        actors={number: {"state": "DEAD"} for number in range(3)},
        job=job(is_dead=True),
        submission=Submission(status="FAILED", message="exit code 1"),
        node_answers={"n1": {"processes": {}, "post_mortem": kept}},
        exits=exits,
    )
    return judge(assemble(sample.observation))


def test_after_a_timeout_the_rank_without_an_error_is_the_suspect() -> None:
    snapshot = after_the_fact(("0,2", GAVE_UP))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("failed", "unknown")
    assert snapshot.verdict.ranks == (1,)
    assert "Rank 1 is suspected." in snapshot.verdict.summary
    assert explain((snapshot, snapshot)).sure == "no"


def test_where_each_rank_has_an_error_nobody_can_know() -> None:
    snapshot = after_the_fact(("0,1,2", GAVE_UP))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("unknown", ())
    assert "nobody can know whose" in snapshot.verdict.summary


def test_one_error_of_three_points_at_nobody() -> None:
    assert after_the_fact(("0", GAVE_UP)).verdict.ranks == ()


def test_who_was_last_to_the_group_is_the_suspect() -> None:
    words = {
        f"w{number}": [NCCL.format(number), f"last enqueued work: {57 - (number == 2)}"]
        for number in range(3)
    }
    snapshot = after_the_fact(words=words)
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("unknown", (2,))
    assert "fewer collectives" in "\n".join(snapshot.findings[0].evidence)


def test_who_met_another_size_at_a_line_of_its_own_is_the_suspect() -> None:
    size = "RuntimeError: 44 vs 8. Received data size doesn't match expected size."
    saves = f'File "/app/train.py", line 30, in save_full\n{size}'
    steps = f'File "/app/train.py", line 12, in step\n{size}'
    snapshot = after_the_fact(("0", saves), ("1,2", steps))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("collective_mismatch", (0,))
    assert "Rank 0 is suspected, at train.py:30, in save_full." in snapshot.verdict.summary
