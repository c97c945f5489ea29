"""Events as JSON Lines: what is written is read again, and what is not a window is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.feed import Ended, Event, HistoryLoaded, SampleFailed, SampleTaken
from dsray_inspect.agent.history import History, RankHistory
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.recording import (
    events_of,
    line_of,
    read_window,
    write_window,
)

PAST = HistoryLoaded(
    history=History(
        from_ns=1,
        until_ns=9,
        steps=2,
        step_s=0.5,
        ranks=(RankHistory(rank=0, cells="rr.g", late_s=0.25),),
    )
)
GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots"


@pytest.fixture
def hung() -> Snapshot:
    return msgspec.json.decode((GOLDEN / "hung.json").read_bytes(), type=Snapshot)


def test_every_event_comes_back(hung: Snapshot) -> None:
    silent = SampleFailed(why="Nothing answers.", help_text="ray status", failures=3, at=12.5)
    events: list[Event] = [SampleTaken(snapshot=hung), PAST, silent, SampleTaken(snapshot=hung)]
    events.append(Ended(snapshot=hung))
    assert list(events_of([line_of(event) for event in events])) == events


def test_a_snapshot_is_the_line_that_attach_json_prints(hung: Snapshot) -> None:
    assert line_of(SampleTaken(snapshot=hung)) == msgspec.json.encode(hung) + b"\n"


def test_a_torn_line_is_left_out(hung: Snapshot) -> None:
    line = line_of(SampleTaken(snapshot=hung))
    assert list(events_of([line, line[:500]])) == [SampleTaken(snapshot=hung)]


def test_what_did_not_change_is_kept_once(hung: Snapshot) -> None:
    line = line_of(SampleTaken(snapshot=hung))
    first, second = [
        event.snapshot for event in events_of([line, line]) if isinstance(event, SampleTaken)
    ]
    assert first == second == hung
    assert first.workers[0].env is second.workers[0].env


def test_a_window_in_a_file(hung: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "window.jsonl"
    write_window(path, [hung, hung], PAST.history)
    assert read_window(path) == [SampleTaken(snapshot=hung), PAST, SampleTaken(snapshot=hung)]
    assert path.stat().st_mode & 0o077 == 0

    with pytest.raises(FileExistsError):
        write_window(path, [hung])


@pytest.mark.parametrize("name", ["healthy", "hung", "pending", "stopped"])
def test_a_single_document_is_a_window(name: str) -> None:
    (event,) = read_window(GOLDEN / f"{name}.json")
    assert isinstance(event, SampleTaken)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello\n", "holds no snapshots"),
        (b'{"a": 1}\n', "holds no snapshots"),
        (b"{\n broken", "holds no snapshots"),
        (b"", "holds no snapshot"),
        (b'{"event": "ended"}\n', "holds no snapshot"),
    ],
)
def test_what_is_no_window_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "other.txt"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=said):
        read_window(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_window(tmp_path / "none")
