"""Sends spans to an OpenTelemetry collector by OTLP, through a private TracerProvider.

Destination and protocol come from `OTEL_EXPORTER_OTLP_*` alone. Nothing waits for the collector:
spans that it does not accept are dropped and counted.
"""

from __future__ import annotations

import importlib
import logging
import os
import platform
import uuid
from collections.abc import Iterator
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from dsray_inspect.agent import __version__
from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.exporters import metrics as m
from dsray_inspect.exporters import semconv
from dsray_inspect.exporters.otel_spans import OtelSpan, otel_spans
from dsray_inspect.exporters.samples import MetricSample
from dsray_inspect.exporters.span_queue import MAX_QUEUED, BoundedSpanProcessor

_SWITCHES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
MODULES: Final = {
    "http/protobuf": ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "export"),
    "grpc": ("opentelemetry.exporter.otlp.proto.grpc.trace_exporter", "otlp-grpc"),
}
"""The module of each protocol's exporter, and the extra that installs it."""
MAX_VALUE_CHARS: Final = 4096
_MAX_REMEMBERED: Final = 400_000
"""How many sent spans are remembered, so that a later timeline does not send them again."""
_FLUSH_S: Final = 0.7
"""How long closing may take: an interrupted command must end quickly."""


def is_wanted() -> bool:
    """Return whether the environment names a collector for traces."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    none = os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none"
    return not off and not none and any(os.environ.get(name) for name in _SWITCHES)


def exporter() -> SpanExporter:
    """Return the SDK's exporter for the protocol that the environment names.

    Raises:
        UsageError: The protocol is unknown, or its package is not installed.
    """
    # It logs every failure; they are counted and reported once instead.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    protocol = next(
        (value for name in _PROTOCOLS if (value := os.environ.get(name))), "http/protobuf"
    )

    if protocol not in MODULES:
        raise UsageError(
            f"The OTLP protocol {protocol} is not supported.",
            help_text="Set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or grpc, or unset it.",
        )

    module, extra = MODULES[protocol]

    try:
        made: SpanExporter = importlib.import_module(module).OTLPSpanExporter()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"OTLP over {protocol} needs the package {error.name}, which is not installed here.",
            help_text=f"pip install 'dsray-inspect[{extra}]'",
        ) from error

    return made


class GivenIds(IdGenerator):
    """Hands out the ids that were computed for the next span."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class Otlp:
    """Sends timelines from one thread, inside a `with` block."""

    def __init__(self, sender: SpanExporter | None = None, *, max_queued: int = MAX_QUEUED) -> None:
        self._ids = GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=_resource(),
            shutdown_on_exit=False,
            id_generator=self._ids,
            span_limits=SpanLimits(
                max_attribute_length=MAX_VALUE_CHARS, max_span_attribute_length=MAX_VALUE_CHARS
            ),
        )
        self.queue = BoundedSpanProcessor(sender or exporter(), max_spans=max_queued)
        self._provider.add_span_processor(self.queue)
        self._tracer = self._provider.get_tracer("dsray-inspect", __version__)
        self._sent: dict[int, None] = {}

    def __enter__(self) -> Otlp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, limit_s: float = _FLUSH_S) -> None:
        """Send the queued spans for at most `limit_s`."""
        self.queue.end(limit_s)

    def send(self, timeline: Timeline, *, whole: bool = False) -> int:
        """Queue the finished traces of a timeline, or all of it; return how many spans are new.

        A span that an earlier timeline contained is not sent again.
        """
        new = [span for span in otel_spans(timeline, whole=whole) if span.span_id not in self._sent]

        for span in new:
            self._record(span)
            self._sent[span.span_id] = None

        for old in list(self._sent)[: max(0, len(self._sent) - _MAX_REMEMBERED)]:
            del self._sent[old]

        return len(new)

    def _record(self, span: OtelSpan) -> None:
        """Make an SDK span with the given times and ids."""
        self._ids.trace_id, self._ids.span_id = span.trace_id, span.span_id
        attributes = {**span.attributes, **({semconv.SPAN_OPEN: True} if span.is_open else {})}
        recorded = self._tracer.start_span(
            span.name,
            context=_parent_context(span),
            attributes=attributes,
            links=[Link(_span_context(*span.link))] if span.link else (),
            start_time=span.start_ns,
        )

        if span.error is not None:
            recorded.set_status(Status(StatusCode.ERROR))

        recorded.end(span.end_ns)

    def metric_samples(self) -> Iterator[MetricSample]:
        """Yield the exporter's own metrics."""
        yield m.SPANS_EXPORTED, (), self.queue.exported
        yield m.SPANS_DROPPED, ("queue",), self.queue.dropped_queue
        yield m.SPANS_DROPPED, ("export",), self.queue.dropped_export


def _parent_context(span: OtelSpan) -> Context:
    """Return a context with the span's parent, empty for a root; never the caller's own."""
    if span.parent_id is None:
        return Context()

    parent = NonRecordingSpan(_span_context(span.trace_id, span.parent_id))
    return set_span_in_context(parent, Context())


def _span_context(trace_id: int, span_id: int) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=sampled)


def _resource() -> Resource:
    """Describe this process; `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` take precedence."""
    ours = {
        semconv.SERVICE_NAME: "dsray-inspect",
        semconv.SERVICE_VERSION: __version__,
        semconv.SERVICE_INSTANCE_ID: str(uuid.uuid4()),
        semconv.PROCESS_RUNTIME_NAME: platform.python_implementation().lower(),
        semconv.PROCESS_RUNTIME_VERSION: platform.python_version(),
    }
    given = Resource.create().attributes
    unset = (
        {semconv.SERVICE_NAME}
        if str(given.get(semconv.SERVICE_NAME, "")).startswith("unknown_service")
        else set()
    )
    kept = {key: value for key, value in given.items() if key not in unset}
    return Resource({**ours, **kept})


def send_once(
    timeline: Timeline, sender: SpanExporter, *, limit_s: float = 10.0
) -> tuple[int, int]:
    """Send a whole timeline and wait; return how many spans were accepted and dropped."""
    with Otlp(sender, max_queued=_MAX_REMEMBERED * 10) as otlp:
        otlp.send(timeline, whole=True)
        otlp.close(limit_s)
        return otlp.queue.exported, otlp.queue.dropped_queue + otlp.queue.dropped_export
