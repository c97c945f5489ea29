"""Ranks that are stopped, held by a debugger, or hold their GIL."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.unavailable import Unavailable
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import APART_S, IN_USER, sample_of, stands, twice, waits


def test_who_was_just_let_go_on_by_a_debugger_is_not_blamed() -> None:
    def seen(state: str) -> dict[str, Any]:
        return {"n1": {"processes": {101: {"state": state}}}}

    ranks = (waits(0), stands(1, IN_USER, idle_s=9), waits(2))
    first, second = (
        sample_of(*ranks, node_answers=seen("stopped")),
        sample_of(*ranks, node_answers=seen("alive")),
    )
    first.observation.taken_at, second.observation.taken_at = 100.0, 100.0 + APART_S
    held = assemble(first.observation)
    assert judge(held).verdict.ranks == (1,)
    assert judge(assemble(second.observation, earlier=held)).findings == ()


def test_ranks_that_are_stopped_are_told_together() -> None:
    processes = {number: {"state": "stopped"} for number in (101, 102)}
    snapshot = twice(
        waits(0),
        stands(1, IN_USER),
        stands(2, IN_USER),
        node_answers={"n1": {"processes": processes}},
    )
    assert snapshot.verdict.ranks == (1, 2)
    assert snapshot.verdict.summary.startswith("Ranks 1-2 are stopped")
    assert snapshot.findings[0].next_step == "kill -CONT 101 102   (on h)"


def test_ranks_that_a_debugger_holds_are_told_by_debugger() -> None:
    processes = {number: {"state": "stopped"} for number in (101, 102)}
    held = [stands(number, IN_USER, tracer=4242 + number // 2) for number in (1, 2)]
    findings = twice(waits(0), *held, node_answers={"n1": {"processes": processes}}).findings
    assert [(finding.ranks, finding.next_step) for finding in findings] == [
        ((1,), "ps -fp 4242   (on h)"),
        ((2,), "ps -fp 4243   (on h)"),
    ]


@pytest.mark.parametrize(("waited_s", "cause"), [(5.0, None), (9.0, "gil_held")])
def test_who_holds_its_gil_is_told_by_that_and_not_before(
    waited_s: float, cause: str | None
) -> None:
    def held(at: float) -> AnalysisInput:
        sample = sample_of(waits(0, waited_s), stands(1, IN_USER, waited_s), waits(2, waited_s))
        silent = sample.members[1]
        holder = msgspec.structs.replace(
            silent,
            silence=Unavailable(reason="timeout", detail="its main thread did not answer in 0.8 s"),
            seen=msgspec.structs.replace(silent.seen, gil_keeper=silent.training),
        )
        members = (sample.members[0], holder, sample.members[2])
        snapshot = msgspec.structs.replace(
            sample.snapshot, taken_at=at, workers=tuple(each.worker for each in members)
        )
        return msgspec.structs.replace(sample, snapshot=snapshot, members=members)

    snapshot = judge(msgspec.structs.replace(held(101.0), earlier=held(100.0)))
    assert snapshot.verdict.cause == cause
    assert bool(snapshot.findings) == bool(cause)
