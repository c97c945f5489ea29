"""A trace of a run from beginning to end, live or of the past."""

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


def harvest_of(snapshot: Snapshot) -> TraceCapture:
    """Return an empty harvest for the living ranks of a run.

    Raises:
        TargetNotFound: there are none.
    """
    ranks = [Rank(worker=one) for one in snapshot.workers if one.state in ("alive", "stopped")]

    if not ranks:
        raise TargetNotFound(
            "The run has no living rank to trace.",
            help_text="dsray-inspect ls   shows what runs.",
        )

    ranks.sort(key=lambda one: (one.worker.rank is None, one.worker.rank))
    return TraceCapture(
        job=snapshot.job,
        run=snapshot.run,
        nodes=snapshot.nodes,
        ranks=ranks,
        from_ns=0,
        until_ns=0,
        is_hung=snapshot.verdict.state == "hung",
    )


def live(
    reads: InProcessReads,
    host: NodeReaderHost | Unavailable,
    rows: Mapping[str, ProcessHandle],
    harvest: TraceCapture,
    *,
    seconds: float,
    max_pause_ms: float,
) -> bool:
    """Trace for so long; an interrupt ends it early, and returns False.

    Raises:
        PermissionMissing: no rank could be traced.
    """
    whole = True

    with (
        deaf_to_the_watch(),
        Tracer(reads, host, rows, harvest, max_pause_ms=max_pause_ms) as tracer,
    ):
        try:
            tracer.watch(seconds)
        except KeyboardInterrupt:
            whole = False

    check(harvest)
    return whole


def past(
    reads: InProcessReads,
    rows: Mapping[str, ProcessHandle],
    harvest: TraceCapture,
    *,
    max_pause_ms: float,
) -> None:
    """Read what every rank's flight recorder holds.

    Raises:
        PermissionMissing: no rank gave any.
    """
    read_recorders(reads, rows, harvest.ranks, max_pause_ms=max_pause_ms)
    harvest.until_ns = time.time_ns()
    check(harvest)


def check(harvest: TraceCapture) -> None:
    first = harvest.ranks[0]

    if not any(isinstance(one.probe, dict) or one.recordings for one in harvest.ranks):
        why = [one for one in (first.probe, first.recording_why) if one != "not asked"]
        raise PermissionMissing(
            f"No rank could be traced; {first.name}: {'; '.join(map(str, why))}.",
            help_text="dsray-inspect attach   shows what each rank is in, and which rung sees it.",
        )


@contextlib.contextmanager
def deaf_to_the_watch() -> Iterator[None]:
    """Keep the end of the process back while probes are in: the first interrupt takes them out.

    A second one is an exception in the middle of that; the leases do the rest.
    """
    kept = signal.set_wakeup_fd(-1)

    try:
        yield
    finally:
        signal.set_wakeup_fd(kept, warn_on_full_buffer=False)
