"""A recorder that holds what it held is not read again, and one that may not is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from dsray_inspect.agent.remote.recorder_state import agrees

ALONE = """
import os, torch, torch.distributed as dist
from dsray_inspect.agent.remote.flight_recorder import collectives
from dsray_inspect.agent.remote.worker import process

os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", RANK="0", WORLD_SIZE="1")
dist.init_process_group("gloo")
state = None

def look():
    global state
    told = process(None, {"environment": None, "recorder_state": state}, {})
    unchanged = "collectives" in told["unchanged"]
    if not unchanged:
        request = {"recorder": "always", "max_pause_ms": 100}
        read = collectives(None, request, told)
        state = read["recorder_state"]
        print("read", len(read["collectives"]), state is not None)
    else:
        print("unchanged")

dist.all_reduce(torch.zeros(2)); look(); look()
dist.all_reduce(torch.zeros(2)); look(); look()
other = dist.new_group([0]); look(); look()
dist.all_reduce(torch.zeros(2), group=other); look(); look()
"""
GROUP = {"last_enqueued_collective": 7, "last_completed_collective": 7}


def entry(sequence: int, *, retired: bool, group: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "recorder": 0,
        "pg_id": group,
        "collective_seq_id": sequence,
        "retired": retired,
        "state": "scheduled",
        "is_p2p": False,
        **more,
    }


def test_a_real_recorder_is_read_again_only_after_another_collective_or_group() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == [
        *("read 1 True", "unchanged"),
        *("read 2 True", "unchanged"),
        *("read 2 True", "unchanged"),
        *("read 3 True", "unchanged"),
    ], done.stderr


@pytest.mark.parametrize(
    ("entries", "same"),
    [
        ([entry(6, retired=True), entry(7, retired=True)], True),
        ([entry(7, retired=False)], False),
        ([entry(7, retired=False, state="completed")], True),
        ([entry(8, retired=False)], False),
        ([entry(7, retired=True), entry(8, retired=True, is_p2p=True)], True),
        ([entry(7, retired=True), entry(1, retired=True, group=1)], False),
        ([], False),
    ],
)
def test_entries_must_be_those_that_the_status_tells_of(
    entries: list[dict[str, Any]], *, same: bool
) -> None:
    assert agrees({"0/0": GROUP}, entries) is same


def test_a_collective_that_has_begun_and_not_ended_agrees_while_it_is_not_retired() -> None:
    waiting = {"0/0": {"last_enqueued_collective": 8, "last_completed_collective": 7}}
    assert agrees(waiting, [entry(7, retired=True), entry(8, retired=False)])
    assert not agrees(waiting, [entry(7, retired=True), entry(8, retired=True)])
