"""The flight recorder of another process, read from its memory (stdlib only, sent by value).

Nothing runs in that process and nothing stops it: its main thread may be busy, its GIL held, the
process stopped. What is read is checked, since the process may write at the same time: the vector
must be the same before and after, each record the one it was, and all numbers in order.
Layouts come from `remote.recorder_layout`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from dsray_inspect.agent.remote.rights import denial

_MOST_BYTES = 64 << 20
_TRIES = 4
_MOSTLY = 0.5
"""The share of the records that must stay as they are while they are read twice."""
_MOST_TEXT_BYTES = 512
_MOST_NUMBERS = 256
_EARLIEST_NS = 1_500_000_000 * 10**9
"""No record is older than flight recorders are."""


class RecorderUnreadable(Exception):
    """Raised when a process's recorder cannot be read; the text says why."""


def recorded_in(
    pid: int, base: int, layout: Mapping[str, Any], newest: int
) -> list[dict[str, Any]]:
    """Return the recorder's entries, oldest first, as torch's own dump has them.

    `base` is where the library is loaded in the process. Names, sizes and types are read of the
    `newest` entries of each process group only; the others have what rhythm and order need:
    `record_id`, `pg_id`, `collective_seq_id`, `time_created_ns`, `retired`.

    Raises:
        RecorderUnreadable: no right, no recorder yet, or the memory is not as the layout says.
    """
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except PermissionError as error:
        raise RecorderUnreadable(denial(pid)) from error
    except OSError as error:
        raise RecorderUnreadable("the process is gone or not visible from here") from error

    try:
        return _Reader(memory, base, layout).entries(newest)
    except (OSError, struct.error) as error:
        raise RecorderUnreadable(f"its memory does not read as expected: {error}") from error
    finally:
        os.close(memory)


class _Reader:
    """One read of one process."""

    def __init__(self, memory: int, base: int, layout: Mapping[str, Any]) -> None:
        self._memory = memory
        self._base = base
        self._layout = layout
        self._columns: Mapping[str, int] = layout["columns"]
        self._stride: int = layout["stride"]

    def entries(self, newest: int) -> list[dict[str, Any]]:
        for _ in range(_TRIES):
            begin, end = self._vector()
            first = self._read(begin, end - begin)
            second = self._read(begin, end - begin)

            records = self._untorn(first, second, begin)
            was_moved = self._vector()[0] != begin  # as it grew

            if not was_moved and len(records) * self._stride > len(first) * _MOSTLY:
                return self._of(records, newest)

        raise RecorderUnreadable("it records faster than its memory can be read")

    def _untorn(self, first: bytes, second: bytes, begin: int) -> list[dict[str, Any]]:
        """Return the records that two reads agree on, as the second one has them.

        One that was being written in the first has another number, time or group in the second.
        """
        pairs = [
            (self._plain(first, at), {**self._plain(second, at), "address": begin + at})
            for at in range(0, len(first), self._stride)
        ]
        return [
            now
            for before, now in pairs
            if all(before[name] == now[name] for name in before if name != "retired")
        ]

    def _vector(self) -> tuple[int, int]:
        """Return where the records begin and end."""
        at = self._base + self._layout["at"]
        inside = self._layout["inside"]

        if inside is not None:
            pointer = self._u64(at)

            if not pointer:
                raise RecorderUnreadable("it has recorded no collective yet")

            at = pointer + inside

        begin, end = struct.unpack("<QQ", self._read(at, 16))

        if begin == end:
            raise RecorderUnreadable("it has recorded no collective yet")

        if not 0 < end - begin <= _MOST_BYTES or (end - begin) % self._stride:
            raise RecorderUnreadable(
                "its memory is not laid out as this build of torch lays it out"
            )

        return begin, end

    def _of(self, records: list[dict[str, Any]], newest: int) -> list[dict[str, Any]]:
        """Return the records in order, the newest of each group with all they hold."""
        ordered = _in_order(records)

        if any(entry["time_created_ns"] < _EARLIEST_NS for entry in ordered):
            raise RecorderUnreadable("its records hold times that cannot be")

        kept = _newest_of_each_group(ordered, newest)
        agreed = [entry for entry in ordered if entry["record_id"] not in kept]
        agreed += [entry for entry in map(self._whole, kept.values()) if entry is not None]
        return sorted(agreed, key=_record_id)

    def _plain(self, data: bytes, at: int = 0) -> dict[str, Any]:
        def number(name: str) -> int:
            return int(struct.unpack_from("<q", data, at + self._columns[name])[0])

        return {
            "record_id": number("record_id"),
            "pg_id": number("pg_id"),
            "collective_seq_id": number("sequence"),
            "time_created_ns": number("created_ns"),
            "timeout_ms": number("timeout_ms"),
            "retired": data[at + self._columns["retired"]] == 1,
            "is_p2p": False,
        }

    def _whole(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """Return an entry with its texts and sizes, read anew; None where it has been overwritten."""
        for _ in range(_TRIES):
            record = self._read(entry["address"], self._stride)
            now = self._plain(record)

            if now["record_id"] != entry["record_id"]:
                return None

            try:
                whole = {
                    **now,
                    "process_group": (
                        self._text(record, "group"),
                        self._text(record, "description"),
                    ),
                    "profiling_name": self._text(record, "operation"),
                    "input_sizes": self._sizes(record),
                    "input_dtypes": self._dtypes(record),
                }
            except (OSError, UnicodeDecodeError, RecorderUnreadable):
                continue

            if self._read(entry["address"], self._stride) == record:
                return whole

        return None

    def _text(self, record: bytes, column: str) -> str:
        pointer, length = struct.unpack_from("<QQ", record, self._columns[column])

        if length > _MOST_TEXT_BYTES:
            raise RecorderUnreadable(f"a name of {length} characters")

        return self._read(pointer, length).decode() if length else ""

    def _sizes(self, record: bytes) -> list[list[int]]:
        """Return the sizes of the inputs: how many each has, and then all in a row."""
        dims, flat = self._numbers(record, "dims"), self._numbers(record, "sizes")
        sizes, at = [], 0

        for count in dims:
            sizes.append(flat[at : at + count])
            at += count

        return sizes

    def _numbers(self, record: bytes, column: str) -> list[int]:
        pointer, count = struct.unpack_from("<QI", record, self._columns[column])

        if count > _MOST_NUMBERS:
            raise RecorderUnreadable(f"a list of {count} numbers")

        return list(struct.unpack(f"<{count}q", self._read(pointer, count * 8)))

    def _dtypes(self, record: bytes) -> list[str]:
        begin, end = struct.unpack_from("<QQ", record, self._columns["dtypes"])

        if not 0 <= end - begin <= _MOST_NUMBERS:
            raise RecorderUnreadable(f"a list of {end - begin} types")

        names: Mapping[str, str] = self._layout["dtypes"]
        return [names.get(str(number), "unknown") for number in self._read(begin, end - begin)]

    def _read(self, address: int, size: int) -> bytes:
        data = os.pread(self._memory, size, address) if size else b""

        if len(data) != size:
            raise OSError(f"{size} bytes at {address:#x} are not mapped")

        return data

    def _u64(self, address: int) -> int:
        return int(struct.unpack("<Q", self._read(address, 8))[0])


def _record_id(entry: Mapping[str, Any]) -> int:
    return int(entry["record_id"])


def _in_order(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records by their numbers.

    Those that were being written are missing: few of them, and the newest and oldest of a ring.
    """
    ordered = sorted(records, key=_record_id)

    if not ordered or _record_id(ordered[-1]) - _record_id(ordered[0]) > 2 * len(ordered):
        raise RecorderUnreadable("its records are not in order")

    return ordered


def _newest_of_each_group(entries: Sequence[dict[str, Any]], newest: int) -> dict[int, Any]:
    """Return by number the last entries of each process group."""
    counts: dict[int, int] = {}
    kept: dict[int, Any] = {}

    for entry in reversed(entries):
        if counts.setdefault(entry["pg_id"], 0) < newest:
            counts[entry["pg_id"]] += 1
            kept[entry["record_id"]] = entry

    return kept
