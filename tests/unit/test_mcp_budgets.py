"""Answers of the MCP tools keep to their budgets, whatever the run."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.mcp.answers.env import env_answer
from dsray_inspect.agent.mcp.answers.evidence import evidence_answer
from dsray_inspect.agent.mcp.answers.jobs import jobs_answer
from dsray_inspect.agent.mcp.answers.stacks import stacks_answer
from dsray_inspect.agent.mcp.ids import PartId
from dsray_inspect.agent.mcp.room import BYTES_PER_TOKEN, Room, tokens_of
from dsray_inspect.agent.mcp.tools import SPECS
from dsray_inspect.agent.model import Log, LogFile
from tests.docs.examples import run_row
from tests.unit.incidents import write
from tests.unit.mcp_calls import (
    about_a_sample,
    answer_of,
    live_sample,
    toolbox,
)
from tests.unit.samples import RUNNER, TEACH, sample_of, stands, waits
from tests.unit.snapshots import many_ranks, recorded

MANY = 1000
NOW = 2000.0


def test_budgets_hold_for_a_thousand_ranks_that_all_differ(tmp_path: Path) -> None:
    long = "\N{FIRE}" * 300
    frames = [
        (RUNNER, TEACH, (f"f{n}{long}", f"f{n}{long}", f"/app/{long}{n}.py", n))
        for n in range(MANY)
    ]
    sample = sample_of(*(stands(n, frames[n]) if n % 2 else waits(n) for n in range(MANY)))
    observation = sample.observation
    observation.taken_at = 100.0
    write(tmp_path / "large.dsray", [observation])
    box = toolbox(tmp_path)
    answer_of(box, "open_incident", path="large.dsray")

    for tool, asked in about_a_sample("i1"):
        answer_of(box, tool, **asked)

    ranks = answer_of(box, "ranks", incident="i1")
    assert ranks["ranks"]
    assert ranks["ranks_left_out"] > 900
    read_on = answer_of(box, "evidence", id="i1.1")
    assert read_on["items"]


def test_budgets_hold_for_large_environments_and_logs() -> None:
    base = many_ranks(recorded("hung"), MANY)
    variable = next(iter(base.workers[0].env.values()))
    lines = tuple(f"{n} {'word ' * 60}" for n in range(100))
    file = LogFile(stream="stdout", path="/x", age_s=1.0, lines=lines, is_whole=False)
    workers = tuple(
        msgspec.structs.replace(
            worker,
            env={
                f"VARIABLE_{n}": msgspec.structs.replace(variable, value=f"{worker.rank}" * 90)
                for n in range(60)
            },
            log=Log(hostname="h", files=(file, file)),
        )
        for worker in base.workers
    )
    sample = live_sample(msgspec.structs.replace(base, workers=workers))
    env = env_answer(sample, SPECS["env_diff"].tokens, NOW)
    stacks = stacks_answer(sample, SPECS["stacks"].tokens, NOW, ranks=(0, 1))
    assert len(env.drift) >= 1
    assert env.drift_left_out > 0
    assert stacks.logs[0].untrusted.lines[-1].startswith("99 ")
    assert stacks.logs[0].lines_left_out > 0
    assert len(stacks.logs) == 4

    for spec, document in ((SPECS["env_diff"], env), (SPECS["stacks"], stacks)):
        assert tokens_of(msgspec.json.encode(document)) <= spec.tokens


def test_evidence_can_be_read_to_its_end() -> None:
    sample = live_sample(recorded("hung"))
    part = PartId("s1.1", "r", 1)
    whole = evidence_answer(sample, part, 100_000, NOW)
    assert whole.next_skip == 0
    found, skip = list(whole.items[:0]), 0

    while True:
        piece = evidence_answer(sample, part, 600, NOW, skip=skip)
        assert tokens_of(msgspec.json.encode(piece)) <= 600
        found += piece.items
        skip = piece.next_skip

        if not skip:
            break

    assert tuple(found) == whole.items


@given(st.lists(st.text(max_size=50), max_size=40), st.integers(min_value=40, max_value=300))
def test_room_is_never_overdrawn(items: list[str], tokens: int) -> None:
    class Answer(msgspec.Struct):
        items: tuple[str, ...] = ()
        more: int = 0

    room = Room(tokens, Answer())
    kept, more = room.take(items)
    assert len(kept) + more == len(items)
    assert len(msgspec.json.encode(Answer(items=kept, more=more))) <= tokens * BYTES_PER_TOKEN


def test_a_long_list_of_jobs_is_cut() -> None:
    told = jobs_answer([run_row()] * MANY, (), SPECS["list_jobs"].tokens, cluster="answers")
    assert told.runs_left_out > 0
    assert tokens_of(msgspec.json.encode(told)) <= SPECS["list_jobs"].tokens
