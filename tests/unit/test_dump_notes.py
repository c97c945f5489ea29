"""What py-spy could not read is said once for all processes of a node."""

from __future__ import annotations

import msgspec
import pytest

from dsray_inspect.agent.assemble.dump_notes import dump_notes
from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.process_probe import ProcessProbe, StackDump
from dsray_inspect.agent.text.stacks import stacks_text
from tests.unit.test_text import load

REFUSED = "without native frames: py-spy cannot stop the process"


def report(pids: range, note: str = REFUSED) -> NodeReport:
    stack = StackDump(threads=(), source="py-spy", note=note)
    return NodeReport(hostname="host-a", processes={pid: ProcessProbe(stack=stack) for pid in pids})


@pytest.mark.parametrize(
    ("pids", "named"),
    [
        (range(1, 2), "pid 1"),
        (range(1, 3), "pids 1 and 2"),
        (range(1, 5), "pids 1, 2, 3 and 4"),
        (range(1, 8), "pids 1, 2, 3, 4 and 3 more"),
    ],
)
def test_equal_reasons_are_one_note(pids: range, named: str) -> None:
    assert dump_notes([report(pids)]) == [f"{named} on host-a: {REFUSED}"]


def test_a_whole_dump_needs_none() -> None:
    assert dump_notes([report(range(1, 3), note="")]) == []


def test_stacks_shows_the_notes() -> None:
    hung = msgspec.structs.replace(load("hung"), notes=(f"pid 1 on host-a: {REFUSED}",))
    assert stacks_text(hung).endswith(f"\nnote        pid 1 on host-a: {REFUSED}")
