"""Events of a feed as JSON Lines: what `attach --follow` prints and `--replay` reads.

A line is a snapshot, as `attach --json` prints it, or an object whose `event` says what else
happened: `remembered`, `unseen` or `ended`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.feed import Ended, Event, Remembered, Seen, Unseen
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Record, Snapshot, Worker

LONG_LINE_BYTES: Final = 1 << 20
FIELDS: Final = get_type_hints(Snapshot)


class UnseenLine(Record, frozen=True, kw_only=True):
    event: str = "unseen"
    why: str
    help_text: str = ""
    failures: int = 1
    at: float


class EndedLine(Record, frozen=True, kw_only=True):
    event: str = "ended"


class RememberedLine(Record, frozen=True, kw_only=True):
    event: str = "remembered"
    history: History


class Kind(msgspec.Struct, frozen=True):
    event: str | None = None


def line_of(event: Event) -> bytes:
    """Return an event as one line, its end included."""
    if isinstance(event, Seen):
        return msgspec.json.encode(event.snapshot) + b"\n"

    if isinstance(event, Remembered):
        return msgspec.json.encode(RememberedLine(history=event.history)) + b"\n"

    if isinstance(event, Unseen):
        line = UnseenLine(
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

        kind = msgspec.json.decode(line, type=Kind).event if len(line) < LONG_LINE_BYTES else None

        if kind is None:
            last = snapshot_of(line)
            yield Seen(snapshot=last)
        elif kind == "unseen":
            told = msgspec.json.decode(line, type=UnseenLine)
            yield Unseen(why=told.why, help_text=told.help_text, failures=told.failures, at=told.at)
        elif kind == "remembered":
            yield Remembered(history=msgspec.json.decode(line, type=RememberedLine).history)
        elif kind == "ended" and last is not None:
            yield Ended(snapshot=last)


def snapshot_of(line: bytes) -> Snapshot:
    """Return the snapshot of a line; a long one rank by rank, so that other threads get a turn."""
    if len(line) < LONG_LINE_BYTES:
        return msgspec.json.decode(line, type=Snapshot)

    raw = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    ranks = msgspec.json.decode(raw.pop("workers"), type=list[msgspec.Raw])
    fields: dict[str, Any] = {
        name: msgspec.json.decode(value, type=FIELDS[name])
        for name, value in raw.items()
        if name in FIELDS
    }
    return Snapshot(workers=tuple(map(WORKERS.decode, ranks)), **fields)


class Workers:
    """Decodes ranks; of the large parts that many ranks have alike, one is kept for all.

    Nine tenths of a rank are its environment and its engine, which do not change.
    """

    def __init__(self) -> None:
        types = get_type_hints(Worker)
        self._decoders = {name: msgspec.json.Decoder(types[name]) for name in ALIKE}
        self._known: dict[tuple[str, bytes], Any] = {}
        fields = [
            (name, msgspec.Raw if name in ALIKE else kind)
            if name in REQUIRED
            else (name, kind, OPTIONAL[name])
            for name, kind in types.items()
        ]
        bare = msgspec.defstruct("BareWorker", fields, kw_only=True)
        self._bare = msgspec.json.Decoder(bare)
        self._names = tuple(types)

    def decode(self, raw: msgspec.Raw) -> Worker:
        bare = self._bare.decode(raw)
        fields = {name: getattr(bare, name) for name in self._names}

        for name in ALIKE:
            fields[name] = self._one_of(name, bytes(fields[name]))

        return Worker(**fields)

    def _one_of(self, name: str, raw: bytes) -> Any:
        key = (name, raw)

        if key not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()

            self._known[key] = self._decoders[name].decode(raw)

        return self._known[key]


ALIKE: Final = ("env", "deepspeed", "evidence", "gpus")
MOST_KNOWN: Final = 50_000
REQUIRED: Final = {one.name for one in msgspec.structs.fields(Worker) if one.required}
OPTIONAL: Final = {
    one.name: msgspec.field(default_factory=one.default_factory)
    if one.default is msgspec.NODEFAULT
    else one.default
    for one in msgspec.structs.fields(Worker)
    if not one.required
}
WORKERS: Final = Workers()


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
        events = list(events_of(lines_of(text)))
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{path} holds no snapshots of dsray-inspect: {error}",
            help_text=f"dsray-inspect attach JOB --follow >{path.name}   records some.",
        ) from error

    if not any(isinstance(event, Seen) for event in events):
        raise UsageError(f"{path} holds no snapshot.")

    return events


def lines_of(text: bytes) -> list[bytes]:
    """Return the lines of a file; a single document may stand over several lines."""
    if text.startswith((b"{\n", b"{\r\n")):
        return [msgspec.json.encode(msgspec.json.decode(text)) + b"\n"]

    return [line + b"\n" for line in text.split(b"\n") if line.strip()]


def write_window(path: Path, snapshots: Iterable[Snapshot], history: History | None = None) -> None:
    """Write snapshots down, readable by nobody else: they name hosts and files."""
    events: list[Event] = [Seen(snapshot=snapshot) for snapshot in snapshots]

    if history is not None:
        events.insert(1, Remembered(history=history))

    with path.open("xb") as file:
        path.chmod(0o600)

        for event in events:
            file.write(line_of(event))
