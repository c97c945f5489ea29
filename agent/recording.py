"""Events of a feed as JSON Lines: what `attach --follow` prints and `--replay` reads.

A line is a snapshot, as `attach --json` prints it, or an object whose `event` says what else
happened: `remembered`, `unseen` or `ended`. The TUI asks for snapshots as `columns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from dsray_inspect.agent import delta_codec
from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.feed import (
    Ended,
    Event,
    HistoryLoaded,
    SampleFailed,
    SampleTaken,
    sharing_parts,
)
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Record, Snapshot

_LONG_LINE_BYTES: Final = 1 << 20


class SampleFailedLine(Record, frozen=True, kw_only=True):
    event: str = "unseen"
    why: str
    help_text: str = ""
    failures: int = 1
    at: float


class EndedLine(Record, frozen=True, kw_only=True):
    event: str = "ended"


class HistoryLoadedLine(Record, frozen=True, kw_only=True):
    event: str = "remembered"
    history: History


class Kind(msgspec.Struct, frozen=True):
    event: str | None = None


def line_of(event: Event) -> bytes:
    """Return an event as one line, its end included."""
    if isinstance(event, SampleTaken):
        return msgspec.json.encode(event.snapshot) + b"\n"

    if isinstance(event, HistoryLoaded):
        return msgspec.json.encode(HistoryLoadedLine(history=event.history)) + b"\n"

    if isinstance(event, SampleFailed):
        line = SampleFailedLine(
            why=event.why, help_text=event.help_text, failures=event.failures, at=event.at
        )
        return msgspec.json.encode(line) + b"\n"

    return msgspec.json.encode(EndedLine()) + b"\n"


def events_of(lines: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of lines; a line torn by an end in the middle is left out.

    Raises:
        msgspec.MsgspecError: a line is no event.
    """
    last: Snapshot | None = None

    for line in lines:
        if not line.endswith(b"\n"):
            return

        kind = _kind_of(line)

        if kind is None:
            snapshot = msgspec.json.decode(line, type=Snapshot)
            last = sharing_parts(snapshot, last) if last is not None else snapshot
            yield SampleTaken(snapshot=last)
        elif kind == delta_codec.EVENT:
            last = delta_codec.snapshot_of(line, last)
            yield SampleTaken(snapshot=last)
        elif kind == "unseen":
            failed = msgspec.json.decode(line, type=SampleFailedLine)
            yield SampleFailed(
                why=failed.why, help_text=failed.help_text, failures=failed.failures, at=failed.at
            )
        elif kind == "remembered":
            yield HistoryLoaded(history=msgspec.json.decode(line, type=HistoryLoadedLine).history)
        elif kind == "ended" and last is not None:
            yield Ended(snapshot=last)


def _kind_of(line: bytes) -> str | None:
    """Return what kind of event a line is, None for a snapshot."""
    if line.startswith(delta_codec.PREFIX):
        return delta_codec.EVENT

    return msgspec.json.decode(line, type=Kind).event if len(line) < _LONG_LINE_BYTES else None


def read_window(path: Path) -> list[Event]:
    """Return the events of a file, of one snapshot or of many.

    Raises:
        UsageError: it cannot be read, or holds no snapshots.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error

    try:
        events = list(events_of(_lines_of(text)))
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{path} holds no snapshots of dsray-inspect: {error}",
            help_text=f"dsray-inspect attach JOB --follow >{path.name}   records some.",
        ) from error

    if not any(isinstance(event, SampleTaken) for event in events):
        raise UsageError(f"{path} holds no snapshot.")

    return events


def _lines_of(text: bytes) -> list[bytes]:
    """Return the lines of a file; a single document may span several lines."""
    if text.startswith((b"{\n", b"{\r\n")):
        return [msgspec.json.encode(msgspec.json.decode(text)) + b"\n"]

    return [line + b"\n" for line in text.split(b"\n") if line.strip()]


def write_window(path: Path, snapshots: Iterable[Snapshot], history: History | None = None) -> None:
    """Write snapshots to a file that only its owner can read: they name hosts and files."""
    events: list[Event] = [SampleTaken(snapshot=snapshot) for snapshot in snapshots]

    if history is not None:
        events.insert(1, HistoryLoaded(history=history))

    with path.open("xb") as file:
        path.chmod(0o600)

        for event in events:
            file.write(line_of(event))
