"""Measures the GPU time of spans by CUDA events that are polled, never waited for (stdlib only).

On the host, `forward` takes only as long as its launch. Two events are recorded on the current
stream and polled during later calls; the time between them becomes a record of its own.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import Any

from dsray_inspect.agent.probes.ring import Ring
from dsray_inspect.agent.probes.wire import DEVICE

_WAITING: int = 64
"""Maximum number of pending pairs of events; the oldest are dropped if the device is far behind."""


class Device:
    """The CUDA events of one process; only one thread uses it at a time, others are not measured."""

    def __init__(self, cuda: Any, ring: Ring) -> None:
        self._cuda = cuda
        self._ring = ring
        self._waiting: deque[tuple[Any, Any, int, int, int]] = deque(maxlen=_WAITING)
        self._spare: list[Any] = []
        self._busy = threading.Lock()

    def begin(self) -> Any:
        """Return an event recorded now; None where that is forbidden, as during graph capture."""
        if self._cuda.is_current_stream_capturing():
            return None

        return self._recorded()

    def end(self, mark: Any, code: int, start: int, end: int) -> None:
        """Record the end of the span that began at `mark`, and write the spans that have completed."""
        if mark is None or self._cuda.is_current_stream_capturing():
            return

        if not self._busy.acquire(blocking=False):
            return

        try:
            self._waiting.append((mark, self._recorded(), code, start, end))
            self._poll()
        finally:
            self._busy.release()

    def _recorded(self) -> Any:
        event = self._spare.pop() if self._spare else self._cuda.Event(enable_timing=True)
        event.record()
        return event

    def _poll(self) -> None:
        while self._waiting and self._waiting[0][1].query():
            before, after, code, start, end = self._waiting.popleft()
            self._write(code, start, end, round(before.elapsed_time(after) * 1e6))
            self._spare += [before, after]

    def _write(self, code: int, start: int, end: int, device_ns: int) -> None:
        self._ring.end(self._ring.begin(start, DEVICE, code, device_ns), end)


def device_of_process(ring: Ring) -> Device | None:
    """Return the events of this process if CUDA is initialized in it; never initialize it here."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)

    try:
        usable = cuda is not None and cuda.is_initialized()
        return Device(cuda, ring) if usable and hasattr(cuda, "Event") else None
    except Exception:
        return None
