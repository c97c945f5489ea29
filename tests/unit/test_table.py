"""Equal stacks are one object, and what is asked of them or of a sample is worked out once."""

from __future__ import annotations

import msgspec
import pytest

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.model import Frame
from dsray_inspect.agent.remote.threads import packed
from dsray_inspect.agent.stacks import frame_rules, table
from dsray_inspect.agent.stacks import stack as stack_module
from dsray_inspect.agent.stacks.layers import NO_ROOTS
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import IN_REDUCE, IN_USER, rank, sample_of


def test_equal_stacks_are_one_object_whichever_way_they_come() -> None:
    stacks = StackTable()
    told = stacks.unpacked(packed(IN_USER), NO_ROOTS)
    assert stacks.unpacked(packed(IN_USER), NO_ROOTS) is told
    assert stacks.stack(told.frames) is told
    assert stacks.unpacked(packed(IN_REDUCE), NO_ROOTS) is not told


def test_a_full_table_begins_anew_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_MOST", 1)
    stacks = StackTable()
    first = stacks.unpacked(packed(IN_USER), NO_ROOTS)
    stacks.unpacked(packed(IN_REDUCE), NO_ROOTS)
    again = stacks.unpacked(packed(IN_USER), NO_ROOTS)
    assert again is not first
    assert again.frames == first.frames


def test_ranks_in_one_stack_cost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(frame: Frame) -> frame_rules.Mark | None:
        asked.append(frame.name)
        return frame_rules.mark_of(frame)

    monkeypatch.setattr(stack_module, "mark_of", counted)
    stacks = StackTable()

    for _ in range(50):
        thread = Thread(
            name="TrainingThread(teach)", tid=7, stack=stacks.unpacked(packed(IN_REDUCE), NO_ROOTS)
        )
        training, phase = stacks.training_and_phase([thread])
        assert training is thread
        assert phase == "collective"
        assert thread.stack.in_collective

    assert 0 < len(asked) <= 2 * len(IN_REDUCE)


def test_a_sample_works_out_each_view_once() -> None:
    made: list[AnalysisInput] = []
    analysis = sample_of(rank(0, IN_USER, 1.0))

    def view(given: AnalysisInput) -> int:
        made.append(given)
        return len(given.members)

    assert [analysis.view(view) for _ in range(3)] == [1, 1, 1]
    assert made == [analysis]


def test_a_changed_sample_has_views_of_its_own() -> None:
    analysis = sample_of(rank(0, IN_REDUCE, 60), rank(1, IN_USER, 61))
    assert judge(analysis).verdict.ranks == (1,)
    changed = msgspec.structs.replace(analysis, members=analysis.members[1:])
    assert judge(changed).findings == ()
