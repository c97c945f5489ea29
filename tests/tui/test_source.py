"""The reader process, played by a small script: how it begins, ends, dies and is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from textual.message import Message

from dsray_inspect.agent.feed import Ended, SampleFailed, SampleTaken
from dsray_inspect.tui import source
from dsray_inspect.tui.messages import Arrived, Broke
from dsray_inspect.tui.source import Follower
from tests.tui.histories import GOLDEN

HEAD = f"""
import json, os, sys, time
hung = json.dumps(json.load(open({str(GOLDEN / "hung.json")!r})))
"""
WAITS = "sys.stdin.read()"


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Follower]:
    """Return a follower whose reader does what a script says."""

    def make(script: str) -> Follower:
        monkeypatch.setattr(source, "INSPECT", HEAD + script)
        return Follower("j47", ("--address", "127.0.0.1:1"), every_s=0.5)

    return make


def told_by(follower: Follower, until: Callable[[list[Any]], bool]) -> list[Any]:
    """Return what the follower tells, events one by one, until that is enough."""
    told: list[Any] = []
    enough = threading.Event()

    def post(message: Message) -> None:
        told.extend(message.events if isinstance(message, Arrived) else [message])

        if until(told):
            enough.set()

    reader = threading.Thread(target=follower.run, args=(post,))
    reader.start()
    assert enough.wait(30)
    child = follower._child
    follower.close()
    reader.join(30)
    assert not reader.is_alive()
    assert child is None or not psutil.pid_exists(child.pid)
    return told


def test_it_is_asked_for_what_the_command_line_says(follow: Callable[[str], Follower]) -> None:
    script = "print('error:', *sys.argv[1:], file=sys.stderr); sys.exit(3)"
    (broke,) = told_by(follow(script), bool)
    assert isinstance(broke, Broke)
    assert broke.code == 3
    words = "attach j47 --follow --every 0.5 --leash --columns --address 127.0.0.1:1"
    assert broke.text.strip() == f"error: {words}"


def test_looks_come_until_the_job_has_ended(follow: Callable[[str], Follower]) -> None:
    script = "print(hung); print(hung); print(json.dumps({'event': 'ended'}))"
    told = told_by(follow(script), lambda told: isinstance(told[-1], Ended))
    assert [type(one) for one in told] == [SampleTaken, SampleTaken, Ended]


def test_a_reader_that_dies_is_started_again(
    follow: Callable[[str], Follower], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    script = (
        f"print(hung, flush=True)\nif not os.path.exists({str(again)!r}):\n"
        f"  open({str(again)!r}, 'w'); print('error: The GCS is gone.', file=sys.stderr)\n"
        f"  os.abort()\n{WAITS}"
    )
    told = told_by(
        follow(script), lambda told: sum(isinstance(one, SampleTaken) for one in told) == 2
    )
    assert [type(one) for one in told] == [SampleTaken, SampleFailed, SampleTaken]
    assert told[1].why == "The GCS is gone."


def test_a_reader_ends_with_its_stdin(follow: Callable[[str], Follower]) -> None:
    told = told_by(follow(f"print(hung, flush=True); {WAITS}"), bool)
    assert [type(one) for one in told] == [SampleTaken]


def test_a_reader_that_does_not_end_is_killed(
    follow: Callable[[str], Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "END_S", 0.2)
    told = told_by(follow("print(hung, flush=True); time.sleep(3600)"), bool)
    assert [type(one) for one in told] == [SampleTaken]


def test_an_answer_and_why_there_is_none(follow: Callable[[str], Follower]) -> None:
    assert follow("print('stacks of', *sys.argv[1:3])").ask("stacks", "j47") == (
        "stacks of stacks j47\n",
        "",
    )
    assert follow("sys.exit('error: no right')").ask("stacks") == ("", "error: no right")
