"""Why a process gives no answer: a GIL is held only by who stands still with it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.stacks.pyspy import labelled_threads
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.stacks.unresponsive import explain_silence

WORKER = "/venv/lib/python3.11/site-packages/ray/_private/worker.py"
IDLE = [("main_loop", WORKER, 1010)]
IMPORT = [("_find_and_load", "<frozen importlib._bootstrap>", 1176), *IDLE]


def dump(*threads: tuple[str, list[tuple[str, str, int]], bool]) -> tuple[Thread, ...]:
    """Return what py-spy reads: frames innermost first."""
    told: list[dict[str, Any]] = [
        {
            "thread_name": name,
            "os_thread_id": number,
            "owns_gil": owns_gil,
            "frames": [
                {"name": function, "filename": file, "line": line}
                for function, file, line in frames
            ],
        }
        for number, (name, frames, owns_gil) in enumerate(threads)
    ]
    return labelled_threads(msgspec.json.encode(told), StackTable())


def training(line: int, *, owns_gil: bool = True) -> tuple[Thread, ...]:
    inside = [("match", "/usr/lib/python3.11/re/__init__.py", line)]
    return dump(("MainThread", IDLE, False), ("TrainingThread(f)", inside, owns_gil))


def test_one_dump_can_only_suspect_a_thread() -> None:
    assert explain_silence(training(166)) == "the GIL is held by TrainingThread(f)"


def test_who_stands_still_with_the_gil_keeps_it() -> None:
    said = explain_silence(training(166), training(166))
    assert said == "the GIL is held by TrainingThread(f)"


@pytest.mark.parametrize("before", [training(165), training(166, owns_gil=False), ()])
def test_who_moves_or_had_no_gil_before_does_not(before: tuple[Thread, ...]) -> None:
    assert explain_silence(training(166), before) == ""


def test_a_busy_main_thread_is_named_with_its_task() -> None:
    said = explain_silence(dump(("MainThread", IMPORT, True)))
    assert said.startswith("its main thread is busy in _find_and_load")
