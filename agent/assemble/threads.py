"""The threads of a process: those that it reported itself, or those read from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from dsray_inspect.agent.model import OK
from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.process_probe import NOT_DUMPED, NOT_PROBED, ProcessProbe
from dsray_inspect.agent.stacks.stack import NO_STACK
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.stacks.unresponsive import gil_keeper
from dsray_inspect.agent.unavailable import Unavailable

Source = Literal["in-process", "py-spy", "faulthandler"]
_ENDED = Unavailable(reason="not_running", detail="the process has ended")
_MOST_NAME = 60


class ThreadDump(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The threads of one process, or why there are none."""

    threads: tuple[Thread, ...]
    source: Source | None
    unavailable: Unavailable | None = None
    pause_ms: float = 0.0
    gil_keeper: Thread | None = None
    """The thread that had the GIL at the same place in two dumps."""

    @property
    def why(self) -> str:
        """Why there are no threads, or "ok"."""
        return str(self.unavailable) if self.unavailable is not None else OK


def threads_of(own: tuple[Thread, ...], probe: ProcessProbe) -> ThreadDump:
    """Return the threads read from outside where there are any, else the process's own.

    `own` is what it reported itself, `probe` what its node says of it.
    """
    if own and probe is NOT_PROBED:
        return ThreadDump(threads=own, source="in-process")

    stack = probe.stack

    if not isinstance(stack, Unavailable):
        before = probe.earlier_stack
        threads = _with_times(stack.threads, probe)
        return ThreadDump(
            threads=threads,
            source=stack.source,
            pause_ms=stack.pause_ms,
            gil_keeper=gil_keeper(threads, before.threads) if before is not None else None,
        )

    if own:
        return ThreadDump(threads=_with_times(own, probe), source="in-process")

    is_gone = probe.state == "gone" and stack == NOT_DUMPED
    return ThreadDump(threads=(), source=None, unavailable=_ENDED if is_gone else stack)


def children_of(node: NodeReport, pid: int) -> list[Thread]:
    """Return the threads of the processes below a pid; one that cannot be read is named."""
    threads: list[Thread] = []

    for child in node.process(pid).children:
        probe = node.process(child)
        seen = threads_of((), probe)
        name = f"{(probe.command or 'gone')[:_MOST_NAME]} ({seen.why})"
        threads += seen.threads or ([Thread(name=name, tid=None, stack=NO_STACK, pid=child)])

    return threads


def _with_times(threads: tuple[Thread, ...], probe: ProcessProbe) -> tuple[Thread, ...]:
    return tuple([_with_own_times(thread, probe.idle_s, probe.cpu_times_s) for thread in threads])


def _with_own_times(
    thread: Thread,
    idle_s: Mapping[int, float],
    cpu_times_s: Mapping[int, tuple[float | None, float | None]],
) -> Thread:
    """Add the times that the node knows, where the process did not tell its own."""
    if thread.idle_s is not None and thread.ran_s is not None:
        return thread

    tid = thread.tid or -1
    ran_s, run_delay_s = cpu_times_s.get(tid, (None, None))
    return msgspec.structs.replace(
        thread,
        idle_s=thread.idle_s if thread.idle_s is not None else idle_s.get(tid),
        ran_s=ran_s if thread.ran_s is None else thread.ran_s,
        run_delay_s=run_delay_s if thread.ran_s is None else thread.run_delay_s,
    )
