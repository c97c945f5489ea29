"""Spans for an OpenTelemetry collector, by OTLP, from a TracerProvider of our own.

Where to and how is told by `OTEL_EXPORTER_OTLP_*` and nothing else. Nothing here waits for the
collector: what it does not take is dropped and counted.
"""

from __future__ import annotations

import importlib
import logging
import os
import platform
import uuid
from collections.abc import Iterator
from types import TracebackType
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
from dsray_inspect.exporters.otel_spans import OtelSpan, planned
from dsray_inspect.exporters.samples import Sample
from dsray_inspect.exporters.span_queue import QUEUE, SpanQueue

SWITCHES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
MODULES: Final = {
    "http/protobuf": ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "export"),
    "grpc": ("opentelemetry.exporter.otlp.proto.grpc.trace_exporter", "otlp-grpc"),
}
"""Module of the exporter, and the extra that brings it."""
LONGEST_VALUE: Final = 4096
MOST_REMEMBERED: Final = 400_000
"""So many sent spans are known again when a later timeline holds them too."""
FLUSH_S: Final = 0.7


def is_wanted() -> bool:
    """Return whether the environment names a collector for traces."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    none = os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none"
    return not off and not none and any(os.environ.get(name) for name in SWITCHES)


def exporter() -> SpanExporter:
    """Return the SDK's exporter for the protocol that the environment asks for.

    Raises:
        UsageError: it is an unknown one, or its package is not installed.
    """
    # It says at each failure what we count and say once.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    protocol = next(
        (value for name in PROTOCOLS if (value := os.environ.get(name))), "http/protobuf"
    )

    if protocol not in MODULES:
        raise UsageError(
            f"There is no OTLP protocol {protocol} here.",
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


class PlannedIds(IdGenerator):
    """Gives the ids that were computed for the span that is made next."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class Otlp:
    """Sends timelines, from one thread; use it in a `with` block."""

    def __init__(self, sender: SpanExporter | None = None, *, queue: int = QUEUE) -> None:
        self._ids = PlannedIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=resource(),
            shutdown_on_exit=False,
            id_generator=self._ids,
            span_limits=SpanLimits(
                max_attribute_length=LONGEST_VALUE, max_span_attribute_length=LONGEST_VALUE
            ),
        )
        self.spool = SpanQueue(sender or exporter(), most=queue)
        self._provider.add_span_processor(self.spool)
        self._tracer = self._provider.get_tracer("dsray-inspect", __version__)
        self._sent: dict[int, None] = {}

    def __enter__(self) -> Otlp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, limit_s: float = FLUSH_S) -> None:
        """Send what is queued, for so long at most."""
        self.spool.end(limit_s)

    def send(self, timeline: Timeline, *, whole: bool = False) -> int:
        """Queue what is over in a timeline, or all of it; returns how many spans are new.

        A span that an earlier timeline held already is not sent again.
        """
        new = [one for one in planned(timeline, whole=whole) if one.span_id not in self._sent]

        for one in new:
            self._make(one)
            self._sent[one.span_id] = None

        for old in list(self._sent)[: max(0, len(self._sent) - MOST_REMEMBERED)]:
            del self._sent[old]

        return len(new)

    def _make(self, one: OtelSpan) -> None:
        """Make a span with the times and ids that it was planned with."""
        self._ids.trace_id, self._ids.span_id = one.trace_id, one.span_id
        attributes = {**one.attributes, **({semconv.SPAN_OPEN: True} if one.is_open else {})}
        span = self._tracer.start_span(
            one.name,
            context=parent_of(one),
            attributes=attributes,
            links=[Link(context_of(*one.link))] if one.link else (),
            start_time=one.start_ns,
        )

        if one.error is not None:
            span.set_status(Status(StatusCode.ERROR))

        span.end(one.end_ns)

    def samples(self) -> Iterator[Sample]:
        """Yield our own metrics of it."""
        yield m.SPANS_EXPORTED, (), self.spool.exported
        yield m.SPANS_DROPPED, ("queue",), self.spool.dropped_queue
        yield m.SPANS_DROPPED, ("export",), self.spool.dropped_export


def parent_of(one: OtelSpan) -> Context:
    """Return a context with the span's parent, an empty one for a root: never the caller's."""
    if one.parent_id is None:
        return Context()

    return set_span_in_context(NonRecordingSpan(context_of(one.trace_id, one.parent_id)), Context())


def context_of(trace_id: int, span_id: int) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=sampled)


def resource() -> Resource:
    """Return what makes the spans; `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` win."""
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


def sent(timeline: Timeline, sender: SpanExporter, *, limit_s: float = 10.0) -> tuple[int, int]:
    """Send a whole timeline and wait for it; returns how many spans were taken and dropped."""
    with Otlp(sender, queue=MOST_REMEMBERED * 10) as otlp:
        otlp.send(timeline, whole=True)
        otlp.close(limit_s)
        return otlp.spool.exported, otlp.spool.dropped_queue + otlp.spool.dropped_export
