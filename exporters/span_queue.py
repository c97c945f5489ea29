"""Spans on their way to a collector: a bounded queue, a thread that sends, and what got lost.

Unlike the SDK's BatchSpanProcessor it counts what it drops, and ends within a time limit even
when the collector is silent. It obeys the same variables (`OTEL_BSP_*`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Final

from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESSED,
)
from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

QUEUE: Final = 65_536
BATCH: Final = 512
DELAY_S: Final = 1.0


class SpanQueue(SpanProcessor):
    """Takes ended spans from any thread, never waits, and sends them in a thread of its own."""

    def __init__(self, exporter: SpanExporter, *, most: int = QUEUE) -> None:
        self.exported = 0
        self.dropped_queue = 0
        self.dropped_export = 0
        self._exporter = exporter
        self._most = number("OTEL_BSP_MAX_QUEUE_SIZE", most)
        self._batch = min(number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH), self._most)
        self._delay_s = number("OTEL_BSP_SCHEDULE_DELAY", round(DELAY_S * 1000)) / 1000
        self._queue: deque[ReadableSpan] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._sending = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="otlp")
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only what has ended is sent."""

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            if self._ending or len(self._queue) >= self._most:
                self.dropped_queue += 1
                return

            self._queue.append(span)

            if len(self._queue) >= self._batch:
                self._wake.set()

    def shutdown(self) -> None:
        """End at once; what is queued counts as dropped."""
        self.end(0.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return whether everything was sent within the time."""
        deadline = time.monotonic() + timeout_millis / 1000
        self._wake.set()

        while time.monotonic() < deadline:
            with self._lock:
                if not self._queue and not self._sending:
                    return True

            time.sleep(0.01)

        return False

    def end(self, limit_s: float) -> None:
        """Send what there is for so long at most, and count the rest; the first call counts."""
        if self._ending:
            return

        if limit_s > 0:
            self.force_flush(round(limit_s * 1000))

        with self._lock:
            self._ending = True
            self.dropped_export += len(self._queue)
            self._queue.clear()

        self._wake.set()
        self._exporter.shutdown()  # also ends a wait between two attempts
        self._thread.join(0.5)

    def _run(self) -> None:
        # What the exporter itself calls (requests) must make no spans.
        token = attach(set_value(SUPPRESSED, True))

        try:
            while not self._ending:
                self._wake.wait(self._delay_s)
                self._wake.clear()

                while batch := self._take():
                    self._send(batch)
        finally:
            detach(token)

    def _take(self) -> list[ReadableSpan]:
        with self._lock:
            if self._ending:
                return []

            batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            self._sending = bool(batch)
            return batch

    def _send(self, batch: list[ReadableSpan]) -> None:
        try:
            sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # whatever a collector or a proxy makes of it, we go on
            sent = False

        with self._lock:
            self._sending = False

            if sent:
                self.exported += len(batch)
            else:
                self.dropped_export += len(batch)


def number(variable: str, otherwise: int) -> int:
    """Return a positive number from the environment."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() and int(text) > 0 else otherwise
