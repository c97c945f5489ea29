"""What the ranks' flight recorders held, as a part of a file: columns, each a difference to the row above.

Most rows of a recorder are like the one above them, so that the columns shrink to little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, Generic, TypeVar

import msgspec

from dsray_inspect.agent.model import Record
from dsray_inspect.agent.tracing.capture import Rank, TraceCapture
from dsray_inspect.agent.tracing.collectives import Entry
from dsray_inspect.agent.unavailable import Unavailable

MOST_ENTRIES: Final = 4000
"""So many of the newest collectives of a rank are kept; a recorder has 2,000 by default."""
_LARGEST: Final = 1 << 62

_ValueT = TypeVar("_ValueT")


class Operation(Record, frozen=True, kw_only=True):
    """What collectives have in common that differ in their numbers and times only."""

    group: str
    operation: str
    system: str
    """nccl, gloo, mpi"""
    sizes: tuple[tuple[int, ...], ...]
    dtype: str
    is_p2p: bool = False


class Rows(Record, frozen=True, kw_only=True):
    """The collectives of one rank, oldest first; `ids`, `sequences` and `starts_ns` are differences."""

    ids: tuple[int, ...] = ()
    operations: tuple[int, ...] = ()
    """Places in `RecordersPart.operations`."""
    sequences: tuple[int, ...] = ()
    starts_ns: tuple[int, ...] = ()
    open: tuple[int, ...] = ()
    """The places of the rows that were not over."""
    completed_ns: dict[int, int] = msgspec.field(default_factory=dict)
    """By place: when it was seen to be over, after its start."""
    durations_ns: dict[int, int] = msgspec.field(default_factory=dict)


class RankRecorder(Record, frozen=True, kw_only=True):
    """One rank; `why` says why its recorder gave nothing."""

    actor_id: str
    rows: Rows = Rows()
    groups: int = 0
    """Place in `RecordersPart.groups`."""
    why: Unavailable | None = None


class RecordersPart(Record, frozen=True, kw_only=True):
    """The flight recorders of all ranks, read at one moment."""

    read_at_ns: int
    operations: tuple[Operation, ...] = ()
    groups: tuple[dict[str, tuple[int, ...]], ...] = ()
    """Ranks by the names of their process groups: one mapping for all ranks that have it in common."""
    ranks: tuple[RankRecorder, ...] = ()


class _Table(Generic[_ValueT]):
    """Gives equal values one place."""

    def __init__(self) -> None:
        self.values: list[_ValueT] = []
        self._places: dict[bytes, int] = {}

    def place(self, value: _ValueT) -> int:
        key = msgspec.json.encode(value)

        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)

        return self._places[key]


def part_of(capture: TraceCapture) -> RecordersPart:
    """Return a capture's recorders as a file has them."""
    operations: _Table[Operation] = _Table()
    groups: _Table[dict[str, tuple[int, ...]]] = _Table()
    ranks = tuple(_rank_part(rank, operations, groups=groups) for rank in capture.ranks)
    return RecordersPart(
        read_at_ns=capture.until_ns,
        operations=tuple(operations.values),
        groups=tuple(groups.values),
        ranks=ranks,
    )


def _rank_part(
    rank: Rank, operations: _Table[Operation], *, groups: _Table[dict[str, tuple[int, ...]]]
) -> RankRecorder:
    entries = rank.entries()[-MOST_ENTRIES:]
    ended = [(place, entry) for place, entry in enumerate(entries) if entry.is_over]
    rows = Rows(
        ids=_differences(entry.id for entry in entries),
        operations=tuple(operations.place(_operation(entry)) for entry in entries),
        sequences=_differences(entry.sequence for entry in entries),
        starts_ns=_differences(entry.start_ns for entry in entries),
        open=tuple(place for place, entry in enumerate(entries) if not entry.is_over),
        completed_ns={
            place: entry.completed_ns - entry.start_ns
            for place, entry in ended
            if entry.completed_ns is not None
        },
        durations_ns={
            place: entry.duration_ns for place, entry in ended if entry.duration_ns is not None
        },
    )
    place = groups.place(dict(rank.group_ranks))
    why = rank.no_recording if not entries else None
    return RankRecorder(actor_id=rank.worker.actor_id, rows=rows, groups=place, why=why)


def _operation(entry: Entry) -> Operation:
    return Operation(
        group=entry.group,
        operation=entry.operation,
        system=entry.system,
        sizes=entry.sizes,
        dtype=entry.dtype,
        is_p2p=entry.is_p2p,
    )


def _differences(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(after - before for before, after in pairwise([0, *numbers]))


def fill(capture: TraceCapture, part: RecordersPart) -> None:
    """Give the ranks of a capture what the file has of their recorders.

    Raises:
        msgspec.ValidationError: It makes no sense.
    """
    known = {recorder.actor_id: recorder for recorder in part.ranks}
    capture.until_ns = _checked(part.read_at_ns)

    for rank in capture.ranks:
        recorder = known.get(rank.worker.actor_id)

        if recorder is None:
            continue

        rank.no_recording = recorder.why
        rank.kept = list(_entries(recorder.rows, part.operations))

        if part.groups:
            rank.group_ranks = _at(part.groups, recorder.groups)


def _entries(rows: Rows, operations: Sequence[Operation]) -> Iterator[Entry]:
    columns = (rows.ids, rows.sequences, rows.starts_ns)
    number = len(rows.operations)

    if {len(column) for column in columns} != {number}:
        raise msgspec.ValidationError("the columns of a recorder have different lengths")

    is_open = frozenset(rows.open)

    for place, (entry_id, sequence, start_ns) in enumerate(
        zip(*map(accumulate, columns), strict=True)
    ):
        of = _at(operations, rows.operations[place])
        completed_ns = rows.completed_ns.get(place)
        entry = Entry(
            id=_checked(entry_id),
            group=of.group,
            sequence=_checked(sequence),
            operation=of.operation,
            system=of.system,
            sizes=of.sizes,
            dtype=of.dtype,
            start_ns=_checked(start_ns),
            is_over=place not in is_open,
            completed_ns=None if completed_ns is None else _checked(start_ns + completed_ns),
            duration_ns=None
            if place not in rows.durations_ns
            else _checked(rows.durations_ns[place]),
            is_p2p=of.is_p2p,
        )
        _checked(entry.size_bytes or 0)
        yield entry


def _checked(number: int) -> int:
    if not 0 <= number < _LARGEST:
        raise msgspec.ValidationError("a number of a recorder is out of range")

    return number


def _at(values: Sequence[_ValueT], place: int) -> _ValueT:
    if not 0 <= place < len(values):
        raise msgspec.ValidationError("a recorder refers to what is not there")

    return values[place]
