"""The reader process, played by a small script: how it starts, ends, dies and is closed."""

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
from dsray_inspect.tui.messages import EventsArrived, ReaderFailed
from dsray_inspect.tui.source import LiveSource
from tests.tui.histories import GOLDEN

HEAD = f"""
import json, os, sys, time
hung = json.dumps(json.load(open({str(GOLDEN / "hung.json")!r})))
"""
WAITS = "sys.stdin.read()"


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], LiveSource]:
    """Return a function that makes a live source whose reader is a script."""

    def make(script: str) -> LiveSource:
        monkeypatch.setattr(source, "CLI", HEAD + script)
        return LiveSource("j47", ("--address", "127.0.0.1:1"), every_s=0.5)

    return make


def events_from(live: LiveSource, until: Callable[[list[Any]], bool]) -> list[Any]:
    """Return the messages of a source, each event by itself, until there are enough."""
    events: list[Any] = []
    enough = threading.Event()

    def post(message: Message) -> None:
        events.extend(message.events if isinstance(message, EventsArrived) else [message])

        if until(events):
            enough.set()

    reader = threading.Thread(target=live.run, args=(post,))
    reader.start()
    assert enough.wait(30)
    child = live._process
    live.close()
    reader.join(30)
    assert not reader.is_alive()
    assert child is None or not psutil.pid_exists(child.pid)
    return events


def test_the_reader_gets_the_options_of_the_command_line(
    follow: Callable[[str], LiveSource],
) -> None:
    script = "print('error:', *sys.argv[1:], file=sys.stderr); sys.exit(3)"
    (failed,) = events_from(follow(script), bool)
    assert isinstance(failed, ReaderFailed)
    assert failed.code == 3
    options = "attach j47 --follow --every 0.5 --end-with-stdin --columns --address 127.0.0.1:1"
    assert failed.text.strip() == f"error: {options}"


def test_snapshots_arrive_until_the_job_has_ended(follow: Callable[[str], LiveSource]) -> None:
    script = "print(hung); print(hung); print(json.dumps({'event': 'ended'}))"
    events = events_from(follow(script), lambda events: isinstance(events[-1], Ended))
    assert [type(event) for event in events] == [SampleTaken, SampleTaken, Ended]


def test_a_reader_that_dies_is_restarted(
    follow: Callable[[str], LiveSource], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    script = (
        f"print(hung, flush=True)\nif not os.path.exists({str(again)!r}):\n"
        f"  open({str(again)!r}, 'w'); print('error: The GCS is gone.', file=sys.stderr)\n"
        f"  os.abort()\n{WAITS}"
    )
    events = events_from(
        follow(script), lambda events: sum(isinstance(event, SampleTaken) for event in events) == 2
    )
    assert [type(event) for event in events] == [SampleTaken, SampleFailed, SampleTaken]
    assert events[1].why == "The GCS is gone."


def test_a_reader_ends_when_its_stdin_is_closed(follow: Callable[[str], LiveSource]) -> None:
    events = events_from(follow(f"print(hung, flush=True); {WAITS}"), bool)
    assert [type(event) for event in events] == [SampleTaken]


def test_a_reader_that_does_not_end_is_killed(
    follow: Callable[[str], LiveSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "END_TIMEOUT_S", 0.2)
    events = events_from(follow("print(hung, flush=True); time.sleep(3600)"), bool)
    assert [type(event) for event in events] == [SampleTaken]


def test_an_answer_and_a_problem(follow: Callable[[str], LiveSource]) -> None:
    assert follow("print('stacks of', *sys.argv[1:3])").ask("stacks", "j47") == (
        "stacks of stacks j47\n",
        "",
    )
    assert follow("sys.exit('error: no right')").ask("stacks") == ("", "error: no right")
