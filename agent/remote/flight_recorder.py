"""What torch's flight recorder holds of this process's collectives (stdlib only, sent by value).

The recorder is on by default, for gloo too. Dump functions and format (version 2.10):
`torch/csrc/distributed/c10d/FlightRecorder.hpp`, verified on torch 2.13. With gloo an entry's
`state` stays "scheduled", and `retired` tells that it is finished.
"""

from __future__ import annotations

import itertools
import pickle
import sys
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

from dsray_inspect.agent.compat.torch import C10D_MODULE
from dsray_inspect.agent.remote.gil import yield_gil
from dsray_inspect.agent.remote.recorder_state import (
    agrees,
    dumps,
    is_finished,
    recorder_status,
    state_of,
)
from dsray_inspect.agent.remote.unavailable import unavailable
from dsray_inspect.agent.remote.worker import all_idle

READ_MS = 20.0
"""What reading 2,000 entries, the recorder's default size, takes."""
KEPT = 2
"""The newest entries of each group that are reported."""
ARRIVALS = 96
"""At least so many of the newest entries of each group tell when the rank came to them."""
ARRIVALS_NS = 12_000_000_000
"""They go back at least so far: quick steps have many in a second."""
MOST_ARRIVALS = 1024
PAUSE_NS = 20_000_000
"""A collective is worth telling where a rank came to it, or to the next, so long after the last."""
RHYTHM = 10
"""So many gaps at least make a rhythm."""


def collectives(_actor: Any, request: dict[str, Any], so_far: dict[str, Any]) -> dict[str, Any]:
    """Return the newest collectives of each process group, and the process's usual rhythm.

    `request`: `recorder`, "always" or "idle", and `max_pause_ms`. Reading holds the GIL for a
    while, which a rank that stands still does not notice. `recorder_state` is None where the
    entries must be read again next time.
    """
    may_pause = request["recorder"] == "always" and request["max_pause_ms"] >= READ_MS

    if not may_pause and not all_idle(so_far["threads"]):
        return no_collectives("the rank runs, and reading its recorder would stop it for a moment")

    status = recorder_status()
    entries = recorded()

    if entries is None:
        return no_collectives("this torch keeps no flight recorder, or is not imported")

    yield_gil()
    now_s = time.time()
    return {
        "collectives": [
            describe(entry, now_s) for group in newest(entries) for entry in group[-KEPT:]
        ],
        "arrivals": arrivals(entries),
        "longest_gap_s": longest_gap_s(entries),
        "newest_age_s": newest_age_s(entries, now_s),
        "group_ranks": group_ranks(),
        "recorder_state": state_of(status) if agrees(status, entries) else None,
    }


def recording(_actor: Any, request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Return all that the flight recorder holds, as it dumps it, for `trace`.

    `request`: `max_pause_ms`. The dump is one C++ call; it is read where it is sent to.
    """
    if request["max_pause_ms"] < READ_MS:
        why = f"it would stop the rank for {READ_MS:.0f} ms"
        return {"recording": None, "no_recording": unavailable("disabled", why)}

    now_ns = time.time_ns()
    raw = dumped()

    if raw is None:
        why = "this torch keeps no flight recorder"
        return {"recording": None, "no_recording": unavailable("failed", why)}

    yield_gil()
    return {
        "recording": raw,
        "no_recording": None,
        "read_ns": now_ns,
        "group_ranks": group_ranks(),
    }


def no_collectives(why: str) -> dict[str, Any]:
    return {"collectives": unavailable("failed", why)}


def recorded() -> list[dict[str, Any]] | None:
    """Return the entries of all recorders, oldest first; None where there is none.

    Those of gloo and those of NCCL are in a recorder of their own, whose number is added as
    `recorder`, and the name by which they are grouped as `group`.
    """
    found: list[dict[str, Any]] | None = None
    mixed = mixed_groups()

    for number, raw in enumerate(dumps(entries=True)):
        yield_gil()
        entries = pickle.loads(raw).get("entries", [])
        found = [] if found is None else found
        found += [
            {**entry, "recorder": number, "group": group_of(entry, mixed)} for entry in entries
        ]

    return sorted(found, key=lambda entry: int(entry["time_created_ns"])) if found else found


def backends_of_groups() -> Iterator[tuple[str, Any, list[str]]]:
    """Yield the name of each process group, the group, and its backends."""
    world = getattr(sys.modules.get(C10D_MODULE), "_world", None)
    configured = dict(getattr(world, "pg_backend_config", {}))

    for group, name in list(getattr(world, "pg_names", {}).items()):
        # As in "cpu:gloo,cuda:nccl".
        parts = str(configured.get(group, "")).split(",")
        yield str(name), group, sorted({part.rpartition(":")[2] for part in parts})


def mixed_groups() -> frozenset[str]:
    """Return the names of groups that have several backends, each of which counts for itself."""
    return frozenset(name for name, _, backends in backends_of_groups() if len(backends) > 1)


def group_of(entry: dict[str, Any], mixed: Container[str]) -> str:
    """Return the name of an entry's group, with its backend where the group has several."""
    name = str(entry["process_group"][0])
    return f"{name}/{str(entry['profiling_name']).partition(':')[0]}" if name in mixed else name


def dumped() -> bytes | None:
    """Return the dump that has most in it: a process with NCCL may have two recorders."""
    return max(dumps(entries=True), key=len, default=None)


def newest(entries: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the entries by group, each group's in order."""
    groups: dict[str, list[dict[str, Any]]] = {}

    for entry in entries:
        if not entry["is_p2p"]:
            groups.setdefault(_group(entry), []).append(entry)

    return list(groups.values())


def _group(entry: dict[str, Any]) -> str:
    return str(entry.get("group") or entry["process_group"][0])


def arrivals(entries: Iterable[dict[str, Any]]) -> dict[str, list[tuple[int, int]]]:
    """Return by group when this rank came to its newest collectives: sequence, Unix ns.

    Only those around a pause are reported: a step of ZeRO-3 has hundreds, and a rank can be late to
    one only where it, or whoever waited for it, paused.
    """
    return {
        _group(group[0]): [
            (int(entry["collective_seq_id"]), int(entry["time_created_ns"]))
            for entry in around_pauses(group)
        ]
        for group in newest(entries)
    }


def around_pauses(group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the collective before each pause, and three after it; the newest of them all.

    Who is late pauses before the collective, who waits for it after it: what both keep holds that
    one and two more, to which all come at once (by those the clocks of hosts are set).
    """
    kept: set[int] = set()

    for place in range(len(group) - 1, 0, -1):
        at_ns = group[place - 1]["time_created_ns"]
        paused_ns = group[place]["time_created_ns"] - at_ns
        span_ns = group[-1]["time_created_ns"] - at_ns

        if paused_ns >= PAUSE_NS:
            kept.update(range(place - 1, min(place + 3, len(group))))

        if len(kept) >= MOST_ARRIVALS or (len(kept) >= ARRIVALS and span_ns >= ARRIVALS_NS):
            break

    return [group[place] for place in sorted(kept)[-MOST_ARRIVALS:]]


def describe(entry: dict[str, Any], now_s: float) -> dict[str, Any]:
    """Return one entry; its age is by this process's own clock."""
    timeout_ms = entry.get("timeout_ms")
    return {
        "group": _group(entry),
        "sequence": int(entry["collective_seq_id"]),
        "operation": str(entry["profiling_name"]).rpartition(":")[2],
        "sizes": [list(map(int, size)) for size in entry["input_sizes"]],
        "dtype": str((entry.get("input_dtypes") or ["unknown"])[0]).lower(),
        "age_s": max(0.0, now_s - entry["time_created_ns"] / 1e9),
        "finished": is_finished(entry),
        "timeout_s": timeout_ms / 1000 if timeout_ms else None,
    }


def newest_age_s(entries: Sequence[dict[str, Any]], now_s: float) -> float | None:
    """Return the age of the newest entry, be it a collective or a message between two ranks."""
    newest_ns = max((entry["time_created_ns"] for entry in entries), default=None)
    return None if newest_ns is None else max(0.0, now_s - newest_ns / 1e9)


def longest_gap_s(entries: list[dict[str, Any]]) -> float | None:
    """Return the longest time without a new collective, in the newer half of what is recorded.

    The older half may hold the set-up, whose gaps are no part of a job's rhythm.
    """
    times = [entry["time_created_ns"] for entry in entries[len(entries) // 2 :]]
    gaps = [(after - before) / 1e9 for before, after in itertools.pairwise(times)]
    return max(gaps) if len(gaps) >= RHYTHM else None


def group_ranks() -> dict[str, Any]:
    """Return the ranks of each process group, by its name; evenly spaced ones as a span."""
    world = getattr(sys.modules.get(C10D_MODULE), "_world", None)
    ranks = getattr(world, "pg_group_ranks", {})
    found = {}

    for name, group, backends in backends_of_groups():
        names = [f"{name}/{backend}" for backend in backends] if len(backends) > 1 else [name]
        found.update(dict.fromkeys(names, spanned(sorted(ranks.get(group, {})))))

    return found


def spanned(ranks: list[int]) -> Any:
    """Return first, end and stride of evenly spaced ranks, else the ranks."""
    stride = ranks[1] - ranks[0] if len(ranks) > 1 else 1
    even = ranks and ranks == list(range(ranks[0], ranks[-1] + 1, stride))
    return {"first": ranks[0], "end": ranks[-1] + 1, "stride": stride} if even else ranks
