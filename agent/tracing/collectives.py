"""Turns flight recorders into collectives: when each rank entered one, and when it ended.

Pure. A recorder has the time of each entry. About the end, NCCL's has the time at which its watchdog
noticed, and the duration if `TORCH_NCCL_ENABLE_TIMING` is set; gloo's has only whether it is over.
Ends that are not recorded are estimated, and `Collective.end_source` says how:

    duration      the recorder's own duration, counted from the last rank's entry
    watchdog      when NCCL's watchdog saw it complete: up to 0.1 s late
    next          when this rank entered the next collective or left the enclosing phase, whichever
                  is earlier, but not before the last rank's entry
    last_entry    when the last rank entered it: the earliest possible end
    open          it is not over
"""

from __future__ import annotations

import math
import pickle
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from dsray_inspect.agent.timeline import Span
from dsray_inspect.agent.tracing import names

EndSource = Literal["duration", "watchdog", "next", "last_entry", "open"]
_SIZES = {
    "byte": 1, "char": 1, "bool": 1, "uint8": 1, "int8": 1, "half": 2, "bfloat16": 2, "short": 2,
    "float16": 2, "int16": 2, "int": 4, "float": 4, "float32": 4, "int32": 4, "long": 8,
    "double": 8, "float64": 8, "int64": 8, "complexfloat": 8, "complexdouble": 16,
}  # fmt: skip
"""Bytes per element, by torch's lower-case type names; types named float8… have one."""
_ALIASES = {
    "_allgather_base": "all_gather_into_tensor",
    "_reduce_scatter_base": "reduce_scatter_tensor",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One collective in the recorder of one rank."""

    id: int
    """Increases with each entry of a recorder."""
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
        """Identifies the collective; equal on all of its ranks."""
        return self.group, self.sequence

    @property
    def size_bytes(self) -> int | None:
        element_bytes = _SIZES.get(self.dtype, 1 if self.dtype.startswith("float8") else 0)
        elements = sum(math.prod(size) for size in self.sizes)
        return element_bytes * elements if element_bytes else None


class Collective(msgspec.Struct, frozen=True, kw_only=True):
    """One collective on one rank, with its end."""

    entry: Entry
    end_ns: int | None
    end_source: EndSource
    wait_ns: int | None
    """From this rank's entry to the last rank's; None if not all entries are known."""
    late_ns: int | None
    """From the first rank's entry to this one's."""


def collective_id(span: Span) -> str | None:
    """Return the group and sequence number of a collective's span: equal on all of its ranks."""
    group = span.attributes.get(names.COLLECTIVE_GROUP)
    sequence = span.attributes.get(names.COLLECTIVE_SEQUENCE)
    known = span.kind == "collective" and group is not None and sequence is not None
    return f"{group}/{sequence}" if known else None


def entries(dumps: Iterable[bytes]) -> list[Entry]:
    """Merge several dumps of one recorder, oldest entry first; the latest dump of an entry counts."""
    found: dict[int, Entry] = {}

    for raw in dumps:
        for number, row in enumerate(pickle.loads(raw).get("entries", ())):
            entry = _entry(row, number)
            found[entry.id] = entry

    return sorted(found.values(), key=lambda entry: (entry.start_ns, entry.id))


def _entry(row: Mapping[str, Any], number: int) -> Entry:
    system, _, operation = str(row.get("profiling_name", "unknown")).rpartition(":")
    duration_ms = row.get("duration_ms")
    is_p2p = bool(row.get("is_p2p"))
    return Entry(
        id=int(row.get("record_id", number)),
        group=str(row["process_group"][0]),
        sequence=int(row["p2p_seq_id"] if is_p2p else row["collective_seq_id"]),
        operation=_ALIASES.get(operation, operation),
        system=system or "unknown",
        sizes=tuple(tuple(map(int, size)) for size in row.get("input_sizes", ())),
        dtype=str((row.get("input_dtypes") or ["unknown"])[0]).lower(),
        start_ns=int(row["time_created_ns"]),
        is_over=bool(row.get("retired")) or str(row.get("state")).lower() == "completed",
        completed_ns=row.get("time_discovered_completed_ns"),
        duration_ns=None if duration_ms is None else round(duration_ms * 1e6),
        is_p2p=is_p2p,
    )


class EntryTimes(msgspec.Struct, frozen=True):
    """When the first and the last rank entered a collective, and whether all ranks are known."""

    first_ns: int
    last_ns: int
    is_complete: bool


def entry_times(
    by_rank: Mapping[int, Sequence[Entry]], members: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], EntryTimes]:
    """Return the entry times of each collective; `members` are the ranks of each group."""
    starts: dict[tuple[str, int], list[int]] = {}

    for rows in by_rank.values():
        for entry in rows:
            if not entry.is_p2p:
                starts.setdefault(entry.key, []).append(entry.start_ns)

    return {
        key: EntryTimes(min(times), max(times), len(times) == len(members.get(key[0], by_rank)))
        for key, times in starts.items()
    }


def collectives(
    rows: Sequence[Entry],
    times: Mapping[tuple[str, int], EntryTimes],
    phases: Sequence[tuple[int, int]] = (),
) -> list[Collective]:
    """Return the collectives of one rank with their ends.

    `phases` are the starts and ends of enclosing phases, in order of start. Outside of any phase the
    next entry says nothing about an end, as it may be a whole step away.
    """
    found = []

    for number, entry in enumerate(rows):
        entered = times.get(entry.key) if not entry.is_p2p else None
        next_ns = rows[number + 1].start_ns if number + 1 < len(rows) else None
        end_ns, source = _end(entry, entered, _latest_end_ns(entry, next_ns, phases))
        found.append(
            Collective(
                entry=entry,
                end_ns=end_ns,
                end_source=source,
                wait_ns=entered.last_ns - entry.start_ns
                if entered and entered.is_complete
                else None,
                late_ns=entry.start_ns - entered.first_ns
                if entered and entered.is_complete
                else None,
            )
        )

    return found


def _end(
    entry: Entry, entered: EntryTimes | None, limit_ns: int | None
) -> tuple[int | None, EndSource]:
    if not entry.is_over:
        return None, "open"

    last_ns = max(entry.start_ns, entered.last_ns if entered else entry.start_ns)

    if entry.duration_ns is not None:
        return last_ns + entry.duration_ns, "duration"

    if entry.completed_ns is not None:
        return max(entry.completed_ns, entry.start_ns), "watchdog"

    return (last_ns, "last_entry") if limit_ns is None else (max(last_ns, limit_ns), "next")


def _latest_end_ns(
    entry: Entry, next_ns: int | None, phases: Sequence[tuple[int, int]]
) -> int | None:
    """Return when this rank had certainly left it: in the next one, or out of the phase around it."""
    around = [
        end for start, end in _nearby(phases, entry.start_ns) if start <= entry.start_ns < end
    ]

    if not around:
        return None

    return min([*around, *([next_ns] if next_ns is not None else [])])


def _nearby(phases: Sequence[tuple[int, int]], time_ns: int) -> Sequence[tuple[int, int]]:
    """Return the phases that began shortly before a time, including those that contain it."""
    at = bisect_right(phases, (time_ns, 1 << 62))
    return phases[max(0, at - 32) : at]
