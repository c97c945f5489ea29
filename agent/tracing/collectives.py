"""From flight recorders to collectives: who entered which one when, and when it ended.

Pure. A recorder has the time of each entry. Of the end NCCL's has what its watchdog saw, and the
duration where `TORCH_NCCL_ENABLE_TIMING` is set; gloo's has only that it is over. What is not
recorded is estimated, and `Collective.end_source` says how:

    duration      the recorder's own duration, from the last rank's entry
    watchdog      when NCCL's watchdog saw it complete: up to 0.1 s late
    next          not before the last rank entered it, and not after this rank entered the next
                  one or left the phase around it: the earlier of these two
    last_entry    when the last rank entered it: the earliest that it can have ended
    open          it is not over
"""

from __future__ import annotations

import math
import pickle
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

EndSource = Literal["duration", "watchdog", "next", "last_entry", "open"]
SIZES = {
    "byte": 1, "char": 1, "bool": 1, "uint8": 1, "int8": 1, "half": 2, "bfloat16": 2, "short": 2,
    "float16": 2, "int16": 2, "int": 4, "float": 4, "float32": 4, "int32": 4, "long": 8,
    "double": 8, "float64": 8, "int64": 8, "complexfloat": 8, "complexdouble": 16,
}  # fmt: skip
"""Bytes of an element, by torch's names in lower case; all types of 8 bits are one."""
ALIASES = {
    "_allgather_base": "all_gather_into_tensor",
    "_reduce_scatter_base": "reduce_scatter_tensor",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One collective in one rank's recorder."""

    id: int
    """Counts the entries of a recorder."""
    group: str
    sequence: int
    operation: str
    system: str
    sizes: tuple[tuple[int, ...], ...]
    dtype: str
    start_ns: int
    is_over: bool
    completed_ns: int | None
    duration_ns: int | None
    is_p2p: bool

    @property
    def key(self) -> tuple[str, int]:
        """What is equal in all ranks of one collective."""
        return self.group, self.sequence

    @property
    def size_bytes(self) -> int | None:
        each = SIZES.get(self.dtype, 1 if self.dtype.startswith("float8") else 0)
        return each * sum(math.prod(size) for size in self.sizes) if each else None


class Collective(msgspec.Struct, frozen=True, kw_only=True):
    """One collective of one rank, with its end."""

    entry: Entry
    end_ns: int | None
    end_source: EndSource
    wait_ns: int | None
    """From this rank's entry to the last rank's; None where another rank's is not known."""
    late_ns: int | None
    """From the first rank's entry to this one's."""


def entries(dumps: Iterable[bytes]) -> list[Entry]:
    """Return what several dumps of one recorder hold, oldest first, the newest word on each."""
    found: dict[int, Entry] = {}

    for raw in dumps:
        for number, row in enumerate(pickle.loads(raw).get("entries", ())):
            one = entry(row, number)
            found[one.id] = one

    return sorted(found.values(), key=lambda one: (one.start_ns, one.id))


def entry(row: Mapping[str, Any], number: int) -> Entry:
    system, _, operation = str(row.get("profiling_name", "unknown")).rpartition(":")
    duration_ms = row.get("duration_ms")
    is_p2p = bool(row.get("is_p2p"))
    return Entry(
        id=int(row.get("record_id", number)),
        group=str(row["process_group"][0]),
        sequence=int(row["p2p_seq_id"] if is_p2p else row["collective_seq_id"]),
        operation=ALIASES.get(operation, operation),
        system=system or "unknown",
        sizes=tuple(tuple(map(int, size)) for size in row.get("input_sizes", ())),
        dtype=str((row.get("input_dtypes") or ["unknown"])[0]).lower(),
        start_ns=int(row["time_created_ns"]),
        is_over=bool(row.get("retired")) or str(row.get("state")).lower() == "completed",
        completed_ns=row.get("time_discovered_completed_ns"),
        duration_ns=None if duration_ms is None else round(duration_ms * 1e6),
        is_p2p=is_p2p,
    )


class Entered(msgspec.Struct, frozen=True):
    """When the first and the last rank entered a collective, and whether all are known to have."""

    first_ns: int
    last_ns: int
    is_whole: bool


def entered(
    by_rank: Mapping[int, Sequence[Entry]], members: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], Entered]:
    """Return for each collective when it was entered; `members` are the ranks of each group."""
    starts: dict[tuple[str, int], list[int]] = {}

    for rows in by_rank.values():
        for one in rows:
            if not one.is_p2p:
                starts.setdefault(one.key, []).append(one.start_ns)

    return {
        key: Entered(min(times), max(times), len(times) == len(members.get(key[0], by_rank)))
        for key, times in starts.items()
    }


def collectives(
    rows: Sequence[Entry],
    entered: Mapping[tuple[str, int], Entered],
    phases: Sequence[tuple[int, int]] = (),
) -> list[Collective]:
    """Return one rank's collectives with their ends.

    `phases` are start and end of what may be around them, by their start; without any, no end is
    told by the next entry, which may be a whole step away.
    """
    found = []

    for number, one in enumerate(rows):
        all_in = entered.get(one.key) if not one.is_p2p else None
        after = rows[number + 1].start_ns if number + 1 < len(rows) else None
        end_ns, source = end_of(one, all_in, limit_of(one, after, phases))
        found.append(
            Collective(
                entry=one,
                end_ns=end_ns,
                end_source=source,
                wait_ns=all_in.last_ns - one.start_ns if all_in and all_in.is_whole else None,
                late_ns=one.start_ns - all_in.first_ns if all_in and all_in.is_whole else None,
            )
        )

    return found


def end_of(
    one: Entry, all_in: Entered | None, limit_ns: int | None
) -> tuple[int | None, EndSource]:
    if not one.is_over:
        return None, "open"

    last_ns = max(one.start_ns, all_in.last_ns if all_in else one.start_ns)

    if one.duration_ns is not None:
        return last_ns + one.duration_ns, "duration"

    if one.completed_ns is not None:
        return max(one.completed_ns, one.start_ns), "watchdog"

    return (last_ns, "last_entry") if limit_ns is None else (max(last_ns, limit_ns), "next")


def limit_of(one: Entry, after_ns: int | None, phases: Sequence[tuple[int, int]]) -> int | None:
    """Return when this rank was surely past it: in the next one, or out of the phase around it."""
    around = [end for start, end in near(phases, one.start_ns) if start <= one.start_ns < end]

    if not around:
        return None

    return min([*around, *([after_ns] if after_ns is not None else [])])


def near(phases: Sequence[tuple[int, int]], time_ns: int) -> Sequence[tuple[int, int]]:
    """Return the phases that began shortly before a time: those around it are among them."""
    at = bisect_right(phases, (time_ns, 1 << 62))
    return phases[max(0, at - 32) : at]
