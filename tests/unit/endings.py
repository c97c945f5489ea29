"""Runs that have ended, put together for the tests: what Ray Train logged and how processes exited."""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.handles import ProcessExit, Submission
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import job, sample_of

ACCOUNT = (
    "Started training worker group of size 2: \n"
    "- (ip=10.0.0.1, pid=100) world_rank=1, local_rank=1, node_rank=0\n"
    "- (ip=10.0.0.1, pid=101) world_rank=0, local_rank=0, node_rank=0"
)
PEER = "RuntimeError: Read error [127.0.0.1]:1: Connection reset by peer. GLHF!"
OWN = 'File "/app/train.py", line 25, in load_batch\n    raise KeyError("x")\nKeyError: \'x\''


def policy(*snippets: tuple[str, str]) -> str:
    blocks = "\n".join(f"[Rank {ranks} Error Snippet]:\n{text}" for ranks, text in snippets)
    return f"[FailurePolicy] RAISE\n  Source: worker group\nError: Training failed:\n{blocks}"


def post_mortem(
    *messages: str, exits: dict[str, ProcessExit] | None = None, words: Any = (), killed: Any = ()
) -> Snapshot:
    account = [{"at": float(number), "message": message} for number, message in enumerate(messages)]
    post_mortem = {
        "train_log": account,
        "last_words": {"w0": list(words)},
        "oom_killed": list(killed),
    }
    sample = sample_of(
        "the actor is dead",
        "the actor is dead",
        actors={0: {"state": "DEAD"}, 1: {"state": "DEAD"}},
        job=job(is_dead=True),
        submission=Submission(status="FAILED", message="exit code 1"),
        node_answers={"n1": {"processes": {}, "post_mortem": post_mortem}},
        exits=exits or {},
    )
    return judge(assemble(sample.observation))


def ended(
    number: int, kind: str, at: float, detail: str = "connection error code 2"
) -> ProcessExit:
    return ProcessExit(
        worker_id=f"w{number}",
        node_id="n1",
        pid=100 + number,
        kind=kind,
        detail=detail,
        ended_at=at,
    )
