"""Runs one trace of a run: live, or of what the flight recorders still hold."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping

from dsray_inspect.agent.errors import PermissionMissing, TargetNotFound
from dsray_inspect.agent.handles import ProcessHandle
from dsray_inspect.agent.launchers.base import InProcessReads, NodeReaderHost
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.tracing.capture import Rank, TraceCapture
from dsray_inspect.agent.tracing.tracer import Tracer, read_recorders
from dsray_inspect.agent.unavailable import Unavailable


def new_capture(snapshot: Snapshot) -> TraceCapture:
    """Return an empty capture for the live ranks of a run.

    Raises:
        TargetNotFound: There are none.
    """
    ranks = [
        Rank(worker=worker) for worker in snapshot.workers if worker.state in ("alive", "stopped")
    ]

    if not ranks:
        raise TargetNotFound(
            "The run has no live rank to trace.",
            help_text="Run dsray-inspect ls to see what is running.",
        )

    ranks.sort(key=lambda rank: (rank.worker.rank is None, rank.worker.rank))
    return TraceCapture(
        job=snapshot.job,
        run=snapshot.run,
        nodes=snapshot.nodes,
        ranks=ranks,
        from_ns=0,
        until_ns=0,
        is_hung=snapshot.verdict.state == "hung",
    )


def trace_live(
    reads: InProcessReads,
    host: NodeReaderHost | Unavailable,
    rows: Mapping[str, ProcessHandle],
    capture: TraceCapture,
    *,
    seconds: float,
    max_pause_ms: float,
) -> bool:
    """Trace for `seconds`; return False if an interrupt ended it early.

    Raises:
        PermissionMissing: No rank could be traced.
    """
    is_complete = True

    with (
        _defer_shutdown(),
        Tracer(reads, host, rows, capture, max_pause_ms=max_pause_ms) as tracer,
    ):
        try:
            tracer.collect_for(seconds)
        except KeyboardInterrupt:
            is_complete = False

    _require_data(capture)
    return is_complete


def read_past(
    reads: InProcessReads,
    rows: Mapping[str, ProcessHandle],
    capture: TraceCapture,
    *,
    max_pause_ms: float,
) -> None:
    """Read the flight recorders of all ranks.

    Raises:
        PermissionMissing: None could be read.
    """
    read_recorders(reads, rows, capture.ranks, max_pause_ms=max_pause_ms)
    capture.until_ns = time.time_ns()
    _require_data(capture)


def _require_data(capture: TraceCapture) -> None:
    first = capture.ranks[0]

    if not any(isinstance(rank.probe, dict) or rank.recordings for rank in capture.ranks):
        why = [
            str(part)
            for part in (first.probe, first.no_recording)
            if isinstance(part, Unavailable) and part.reason != "not_asked"
        ]
        raise PermissionMissing(
            f"No rank could be traced; {first.name}: {'; '.join(dict.fromkeys(why))}.",
            help_text="Run dsray-inspect attach to see where each rank is and what can be read of it.",
        )


@contextlib.contextmanager
def _defer_shutdown() -> Iterator[None]:
    """Delay the shutdown guard while probes are installed: the first interrupt removes them.

    A second interrupt aborts the removal; then the leases of the probes expire.
    """
    previous = signal.set_wakeup_fd(-1)

    try:
        yield
    finally:
        signal.set_wakeup_fd(previous, warn_on_full_buffer=False)
