"""How long threads have run, by which they are known not to have run since (stdlib only, sent by value)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsray_inspect.agent.remote.activity_counters import stat_of
from dsray_inspect.agent.remote.threads import cpu_times

_ASLEEP = ([b"S"], [b"D"])
"""The state of a thread that waits, with or without signals waking it."""


def run_times(watched: Mapping[int, Sequence[int]]) -> dict[int, list[float | None]]:
    """Return the CPU seconds of each of these threads, by pid.

    Left out are processes whose main thread is not asleep: they run, or are stopped or gone.
    """
    asleep = [pid for pid in watched if stat_of(f"/proc/{pid}/stat")[:1] in _ASLEEP]
    return {pid: [cpu_times(pid, tid)[0] for tid in watched[pid]] for pid in asleep}
