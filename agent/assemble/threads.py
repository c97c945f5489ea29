"""The threads of a process, from its own answer or from py-spy's, every frame labelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from dsray_inspect.agent.model import OK, Thread
from dsray_inspect.agent.stacks.layers import NO_ROOTS, label
from dsray_inspect.agent.stacks.pyspy import PySpyUnreadable, parse
from dsray_inspect.agent.stacks.unresponsive import gil_keeper, read

Source = Literal["in-process", "py-spy", "faulthandler"]


class ThreadDump(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The threads of one process; `why` is "ok" or the reason there are none."""

    threads: tuple[Thread, ...]
    source: Source | None
    why: str
    pause_ms: float = 0.0
    gil_keeper: Thread | None = None
    """The thread that had the GIL at the same place in two dumps."""


def threads_of(own: tuple[Thread, ...], facts: Mapping[str, Any]) -> ThreadDump:
    """Return py-spy's threads where it looked, else the process's own.

    `own` is what rung 1 or 2 gave, `facts` what the node look knows of the pid.
    """
    if own and not facts:
        return ThreadDump(threads=own, source="in-process", why=OK)

    dump = facts.get("dump")
    idle, cpu = facts.get("idle_s") or {}, facts.get("cpu_times_s") or {}
    why = ""

    if dump is not None and "json" in dump:
        try:
            parsed = parse(dump["json"])
            threads = tuple(with_times(labelled_thread(one), idle, cpu) for one in parsed)
        except PySpyUnreadable as error:
            threads, why = (), str(error)

        if threads:
            before = facts.get("dump_before", {}).get("json")
            return ThreadDump(
                threads=threads,
                source="faulthandler" if dump.get("rung4") else "py-spy",
                why=OK,
                pause_ms=dump.get("pause_ms", 0.0),
                gil_keeper=gil_keeper(threads, read(before)) if before else None,
            )

        why = why or "py-spy sees no Python thread in it: it is starting or ending"
    elif dump is not None:
        why = dump["error"]

    if own:
        threads = tuple([with_times(one, idle, cpu) for one in own])
        return ThreadDump(threads=threads, source="in-process", why=OK)

    if facts.get("gone"):
        why = "the process has ended"

    return ThreadDump(threads=(), source=None, why=why or "nobody looked at this process")


def children_of(processes: Mapping[int, Mapping[str, Any]], pid: int) -> list[Thread]:
    """Return the threads of the processes below a pid; one that py-spy cannot read is named."""
    threads: list[Thread] = []

    for child in processes.get(pid, {}).get("children", ()):
        facts = processes.get(child, {})
        seen = threads_of((), facts)
        command = facts.get("command", "gone")
        name = f"{command[:60]} ({seen.why})"
        threads += seen.threads or ([Thread(name=name, tid=None, frames=(), pid=child)])

    return threads


def labelled_thread(thread: Thread) -> Thread:
    return msgspec.structs.replace(thread, frames=label(thread.frames, NO_ROOTS))


def with_times(
    thread: Thread, idle: Mapping[int, float], cpu: Mapping[int, tuple[float, float]]
) -> Thread:
    """Add the times that the node look knows, where the process did not tell its own."""
    if thread.idle_s is not None and thread.ran_s is not None:
        return thread

    tid = thread.tid or -1
    ran_s, run_delay_s = cpu.get(tid, (None, None))
    return msgspec.structs.replace(
        thread,
        idle_s=thread.idle_s if thread.idle_s is not None else idle.get(tid),
        ran_s=ran_s if thread.ran_s is None else thread.ran_s,
        run_delay_s=run_delay_s if thread.ran_s is None else thread.run_delay_s,
    )
