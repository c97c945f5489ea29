"""A bounded queue of spans for a collector, the thread that sends them, and a count of lost ones.

Unlike the SDK's BatchSpanProcessor it counts the spans it drops, and shuts down within a time limit
even if the collector does not answer. It obeys the same variables (`OTEL_BSP_*`).
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

MAX_QUEUED: Final = 65_536
_BATCH: Final = 512
_DELAY_S: Final = 1.0


class BoundedSpanProcessor(SpanProcessor):
    """Accepts ended spans from any thread without blocking and sends them in its own thread."""

    def __init__(self, exporter: SpanExporter, *, max_spans: int = MAX_QUEUED) -> None:
        self.exported = 0
        self.dropped_queue = 0
        self.dropped_export = 0
        self._exporter = exporter
        self._max_spans = _positive_int("OTEL_BSP_MAX_QUEUE_SIZE", max_spans)
        self._batch = min(_positive_int("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH), self._max_spans)
        self._delay_s = _positive_int("OTEL_BSP_SCHEDULE_DELAY", round(_DELAY_S * 1000)) / 1000
        self._queue: deque[ReadableSpan] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._sending = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="otlp")
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only ended spans are sent."""

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            if self._ending or len(self._queue) >= self._max_spans:
                self.dropped_queue += 1
                return

            self._queue.append(span)

            if len(self._queue) >= self._batch:
                self._wake.set()

    def shutdown(self) -> None:
        """Stop immediately; queued spans count as dropped."""
        self.end(0.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until the queue is empty; return whether it is."""
        deadline = time.monotonic() + timeout_millis / 1000
        self._wake.set()

        while time.monotonic() < deadline:
            with self._lock:
                if not self._queue and not self._sending:
                    return True

            time.sleep(0.01)

        return False

    def end(self, limit_s: float) -> None:
        """Send for at most `limit_s`, then drop and count the rest. Later calls do nothing."""
        if self._ending:
            return

        if limit_s > 0:
            self.force_flush(round(limit_s * 1000))

        with self._lock:
            self._ending = True
            self.dropped_export += len(self._queue)
            self._queue.clear()

        self._wake.set()
        self._exporter.shutdown()  # also interrupts its wait between two attempts
        self._thread.join(0.5)

    def _run(self) -> None:
        # The libraries that the exporter calls (requests) must not record spans.
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
        except Exception:  # whatever the collector or a proxy does, keep going
            sent = False

        with self._lock:
            self._sending = False

            if sent:
                self.exported += len(batch)
            else:
                self.dropped_export += len(batch)


def _positive_int(variable: str, default: int) -> int:
    """Return a positive number from the environment, else the default."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() and int(text) > 0 else default
