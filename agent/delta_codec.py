"""Snapshots as columns: of each field of the ranks its distinct values, and only if it has changed.

This is what a screen is sent of ten thousand ranks twice a second: their environments are alike
and stay, only their times do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, get_type_hints

import msgspec

from dsray_inspect.agent.model import Collective, Record, Snapshot, Worker

EVENT: Final = "columns"
PREFIX: Final = b'{"event":"columns",'
_SNAPSHOT: Final = get_type_hints(Snapshot)
_WORKER: Final = get_type_hints(Worker)
_COLLECTIVES: Final = "collectives"
_PLAIN: Final = tuple(name for name in _WORKER if name != _COLLECTIVES)
_SCALARS: Final = (str, int, float, type(None))
_all_but_age = attrgetter(
    "group", "group_id", "sequence", "operation", "sizes", "dtype", "finished", "timeout_s"
)


class Column(Record, frozen=True, kw_only=True):
    """The values of one field: rank by rank, or each once with `at`, which tells whose is which."""

    values: msgspec.Raw
    at: tuple[int, ...] | None = None


class ColumnsLine(Record, frozen=True, kw_only=True):
    """A snapshot, or what of it differs from the snapshot before."""

    event: str = EVENT
    is_whole: bool
    fields: dict[str, msgspec.Raw]
    columns: dict[str, Column]
    ages: tuple[tuple[float, ...], ...] | None = None
    """Of the collectives of each rank. They are all that changes while a job is hung."""


class Writer:
    """Encodes one snapshot after another."""

    def __init__(self) -> None:
        self._before: Snapshot | None = None

    def line(self, snapshot: Snapshot) -> bytes:
        """Return a snapshot as one line, its end included."""
        before, self._before = self._before, snapshot
        workers = snapshot.workers
        old = before if before is not None and len(before.workers) == len(workers) else None
        collectives = _collectives_column(workers, old)
        ages = _ages_of(workers)
        line = ColumnsLine(
            is_whole=old is None,
            fields=dict(_changed_fields(snapshot, old)),
            columns={**_changed_columns(workers, old), **collectives},
            ages=None
            if old is not None and not collectives and ages == _ages_of(old.workers)
            else ages,
        )
        return msgspec.json.encode(line) + b"\n"


def _changed_fields(snapshot: Snapshot, old: Snapshot | None) -> Iterable[tuple[str, msgspec.Raw]]:
    for name in _SNAPSHOT:
        value = getattr(snapshot, name)

        if name != "workers" and (old is None or getattr(old, name) != value):
            yield name, msgspec.Raw(msgspec.json.encode(value))


def _changed_columns(workers: Sequence[Worker], old: Snapshot | None) -> dict[str, Column]:
    found = {}

    for name in _PLAIN:
        values = [getattr(worker, name) for worker in workers]

        if old is None or [getattr(worker, name) for worker in old.workers] != values:
            found[name] = _column_of(values, values)

    return found


def _collectives_column(workers: Sequence[Worker], old: Snapshot | None) -> dict[str, Column]:
    """Return the collectives without their ages: those of all ranks in one of them are alike."""
    keys = _keys_of(workers)

    if old is not None and _keys_of(old.workers) == keys:
        return {}

    values = [_ageless(worker.collectives) for worker in workers]
    return {_COLLECTIVES: _column_of(values, keys)}


def _ages_of(workers: Sequence[Worker]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(collective.age_s for collective in worker.collectives) for worker in workers)


def _keys_of(workers: Sequence[Worker]) -> list[tuple[object, ...]]:
    return [tuple(map(_all_but_age, worker.collectives)) for worker in workers]


def _ageless(collectives: Iterable[Collective]) -> tuple[Collective, ...]:
    return tuple(_aged(collective, 0.0) for collective in collectives)


def _column_of(values: Sequence[object], keys: Sequence[object]) -> Column:
    """Return each value once. Equal keys are equal values; a record is known by its identity too."""
    places: dict[object, int] = {}
    written: dict[bytes, int] = {}
    at = []

    for value, own in zip(values, keys, strict=True):
        key = own if own is not value or isinstance(value, _SCALARS) else id(value)
        place = places.get(key)

        if place is None:
            place = written.setdefault(msgspec.json.encode(value), len(written))
            places[key] = place

        at.append(place)

    return Column(
        values=msgspec.Raw(b"[" + b",".join(written) + b"]"),
        at=None if len(written) == len(at) else tuple(at),
    )


def snapshot_of(line: bytes, before: Snapshot | None) -> Snapshot:
    """Return the snapshot that a line holds, given the one before; what did not change is shared.

    Raises:
        msgspec.MsgspecError: the line is none, or does not follow that snapshot.
    """
    change = msgspec.json.decode(line, type=ColumnsLine)
    fields = {
        name: msgspec.json.decode(raw, type=_SNAPSHOT[name]) for name, raw in change.fields.items()
    }

    if change.is_whole:
        return Snapshot(workers=tuple(_new_workers(change)), **fields)

    if before is None or (change.ages is not None and len(change.ages) != len(before.workers)):
        raise msgspec.ValidationError("the snapshot before this change is not known")

    return msgspec.structs.replace(
        before, workers=_changed_workers(change, before.workers), **fields
    )


def _new_workers(change: ColumnsLine) -> Iterable[Worker]:
    rows = _spread_all(change)
    return (Worker(**dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True))


def _changed_workers(change: ColumnsLine, workers: tuple[Worker, ...]) -> tuple[Worker, ...]:
    rows = _spread_all(change, workers)

    if not rows:
        return workers

    return tuple(
        msgspec.structs.replace(worker, **dict(zip(rows, row, strict=True)))
        for worker, row in zip(workers, zip(*rows.values(), strict=True), strict=True)
    )


def _spread_all(change: ColumnsLine, workers: tuple[Worker, ...] = ()) -> dict[str, Sequence[Any]]:
    """Return the values of each field of the line, one a rank."""
    rows = {name: _spread(name, column) for name, column in change.columns.items()}

    if change.ages is not None and any(change.ages):
        timeless = rows.get(_COLLECTIVES) or [worker.collectives for worker in workers]
        rows[_COLLECTIVES] = [
            tuple(map(_aged, mine, ages)) for mine, ages in zip(timeless, change.ages, strict=True)
        ]

    return rows


def _spread(name: str, column: Column) -> Sequence[Any]:
    values: list[Any] = msgspec.json.decode(column.values, type=list[_WORKER[name]])  # type: ignore[valid-type]
    return values if column.at is None else [values[place] for place in column.at]


def _aged(collective: Collective, age_s: float) -> Collective:
    return msgspec.structs.replace(collective, age_s=age_s)
