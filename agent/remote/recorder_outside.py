"""What the flight recorder of another process tells of its collectives (stdlib only, sent by value).

The same facts as `remote.flight_recorder` gives from inside, but for the ranks of each group, which
only the process itself knows.
"""

from __future__ import annotations

import time
from typing import Any

from dsray_inspect.agent.remote.flight_recorder import (
    KEPT,
    arrivals,
    describe,
    longest_gap_s,
    newest,
    newest_age_s,
)
from dsray_inspect.agent.remote.recorder_layout import LayoutUnknown, layout_of, torch_library
from dsray_inspect.agent.remote.recorder_memory import RecorderUnreadable, recorded_in
from dsray_inspect.agent.remote.unavailable import unavailable

LAYOUT_S = 4.0
"""How long a sample waits for layouts that are not known yet."""


def read_recorders(
    pids: list[int], trial: str, wait_s: float = LAYOUT_S
) -> dict[int, dict[str, Any]]:
    """Return by pid the newest collectives of each process group, and the process's usual rhythm.

    `trial` is the source of `sampling.recorder_trial`, for which all together wait so long where its
    result is not known yet. A dict with `reason` and `detail` says why
    there is nothing.
    """
    deadline = time.monotonic() + wait_s
    return {pid: _read(pid, trial, max(0.0, deadline - time.monotonic())) for pid in pids}


def _read(pid: int, trial: str, wait_s: float) -> dict[str, Any]:
    try:
        found = torch_library(pid)

        if found is None:
            return unavailable("not_running", "it has not loaded torch")

        path, base = found
        entries = recorded_in(pid, base, layout_of(pid, path, trial, wait_s), KEPT)
    except (LayoutUnknown, RecorderUnreadable) as error:
        return unavailable("failed", str(error))

    now_s = time.time()
    entries = _with_groups(entries)
    return {
        "collectives": [
            describe(entry, now_s)
            for group in newest(entries)
            for entry in group[-KEPT:]
            if "profiling_name" in entry
        ],
        "arrivals": arrivals(entries),
        "longest_gap_s": longest_gap_s(entries),
        "newest_age_s": newest_age_s(entries, now_s),
    }


def _with_groups(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries with their groups' names, which only the newest of each were read with."""
    names = {
        entry["pg_id"]: entry["process_group"] for entry in entries if "process_group" in entry
    }
    return [
        {**entry, "process_group": names[entry["pg_id"]]}
        for entry in entries
        if entry["pg_id"] in names
    ]
