"""Spans over OTLP: what a real receiver decodes, and what happens when there is none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.exporters import otlp, semconv
from dsray_inspect.exporters.otel_spans import otel_spans
from dsray_inspect.exporters.otlp import GivenIds, Otlp, is_wanted, send_once
from tests.receiver import Receiver, attributes, receiving
from tests.unit import timelines
from tests.unit.span_exporters import Broken, Kept

WHOLE = timelines.two_ranks()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


def test_every_span_is_decoded_and_its_parent_is_there(receiver: Receiver) -> None:
    taken, dropped = send_once(WHOLE, otlp.exporter())
    assert dropped == 0
    assert taken == len(receiver.spans) == len(list(otel_spans(WHOLE, whole=True)))
    assert set(receiver.paths) == {"/v1/traces"}
    by_trace: dict[bytes, set[bytes]] = {}
    for span in receiver.spans:
        by_trace.setdefault(span.trace_id, set()).add(span.span_id)
    for span in receiver.spans:
        assert len(span.trace_id) == 16
        assert len(span.span_id) == 8
        assert span.end_time_unix_nano >= span.start_time_unix_nano
        assert not span.parent_span_id or span.parent_span_id in by_trace[span.trace_id]
    assert len({span.span_id for span in receiver.spans}) == len(receiver.spans)
    roots = [span for span in receiver.spans if not span.parent_span_id]
    assert len(roots) == len(by_trace)


def test_one_trace_a_step_and_one_of_the_start_that_all_link_to(receiver: Receiver) -> None:
    send_once(WHOLE, otlp.exporter())
    roots = [span for span in receiver.spans if not span.parent_span_id]
    names = sorted(root.name for root in roots)
    assert names == ["train.start", "train.step", "train.step", "train.step"]
    (start,) = (root for root in roots if root.name == "train.start")
    for root in roots:
        if root is not start:
            (link,) = root.links
            assert (link.trace_id, link.span_id) == (start.trace_id, start.span_id)
    steps = [attributes(root.attributes) for root in roots if root.name == "train.step"]
    assert sorted(step[semconv.STEP_GLOBAL] for step in steps) == [0, 1, 2]
    assert {step[semconv.RUN_ID] for step in steps} == {timelines.RUN.id}
    assert {step[semconv.RAY_SUBMISSION_ID] for step in steps} == {"train-1"}


def test_what_is_not_over_waits_and_nothing_is_sent_twice() -> None:
    kept = Kept()
    with Otlp(kept) as sender:
        first = sender.send(WHOLE)
        assert sender.send(WHOLE) == 0
        rest = sender.send(WHOLE, whole=True)
    assert first + rest == len(list(otel_spans(WHOLE, whole=True)))
    names = [span.name for span in kept.spans[first:]]
    assert sorted(names) == sorted(
        ["train.step", "train.step", "backward", "all_reduce", "train.step", "data"]
    )
    assert all(
        span.attributes and span.attributes[semconv.SPAN_OPEN] is True
        for span in kept.spans[first:]
    )


def inferred(from_step: int, steps: int) -> Timeline:
    """Return steps that were told from collectives, counted from the oldest that is known."""
    spans = []
    for number in range(steps):
        for process in (timelines.RANK_0, timelines.RANK_1):
            at = 50.0 * (from_step + number)
            step = timelines.span("step", "step", process, (at, at + 50), step=number)
            step.attributes[semconv.STEP_INFERRED] = True
            first = timelines.collective(process, 2 * (from_step + number), (at, at + 3), number)
            again = timelines.collective(
                process, 2 * (from_step + number) + 1, (at + 5, at + 9), number
            )
            spans += [step, first, again]
    return msgspec.structs.replace(WHOLE, spans=tuple(sorted(spans, key=lambda s: s.start_ns)))


def test_inferred_steps_are_known_again_when_they_are_counted_anew() -> None:
    kept = Kept()
    with Otlp(kept) as sender:
        each = 1 + 2 * 3  # the root, and per rank a step and its two collectives
        assert sender.send(inferred(0, 5)) == 4 * each  # the last may not be over
        assert sender.send(inferred(0, 5)) == 0
        assert sender.send(inferred(2, 5)) == 2 * each
    roots = [span for span in kept.spans if span.parent is None]
    assert [root.attributes and root.attributes[semconv.STEP_INFERRED] for root in roots] == [
        True
    ] * 6
    assert not any(semconv.STEP_GLOBAL in (span.attributes or {}) for span in kept.spans)


def test_an_exception_marks_its_span(receiver: Receiver) -> None:
    failed = timelines.span("backward", "phase", timelines.RANK_0, (1, 2), step=0)
    failed.attributes[semconv.ERROR_TYPE] = "exception"
    send_once(msgspec.structs.replace(WHOLE, spans=(failed,)), otlp.exporter())
    (span,) = (span for span in receiver.spans if span.name == "backward")
    assert span.status.code == span.status.STATUS_CODE_ERROR


def test_long_values_are_cut(receiver: Receiver) -> None:
    long = timelines.span("data", "phase", timelines.RANK_0, (1, 2), step=0)
    long.attributes["note"] = "x" * 100_000
    send_once(msgspec.structs.replace(WHOLE, spans=(long,)), otlp.exporter())
    (span,) = (span for span in receiver.spans if span.name == "data")
    assert len(attributes(span.attributes)["note"]) == otlp.MAX_VALUE_CHARS


def test_the_environment_tells_who_we_are(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=night,deployment=eu")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=one")
    send_once(WHOLE, otlp.exporter())
    resource = receiver.resources[0]
    assert resource["service.name"] == "dsray-inspect"
    assert resource["service.namespace"] == "night"
    assert resource["deployment"] == "eu"
    assert receiver.headers[0]["x-tenant"] == "one"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "watcher")
    send_once(WHOLE, otlp.exporter())
    assert receiver.resources[-1]["service.name"] == "watcher"


def test_the_global_provider_is_left_alone_and_no_span_is_adopted() -> None:
    """Ray's tracing owns the global provider; a span of it must not become a parent of ours."""
    code = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from tests.unit import timelines\n"
        "from tests.unit.span_exporters import Kept\n"
        "from dsray_inspect.exporters.otlp import Otlp\n"
        "theirs = TracerProvider(shutdown_on_exit=False)\n"
        "trace.set_tracer_provider(theirs)\n"
        "kept = Kept()\n"
        "with theirs.get_tracer('ray').start_as_current_span('ray'), Otlp(kept) as one:\n"
        "    one.send(timelines.two_ranks(), whole=True)\n"
        "assert trace.get_tracer_provider() is theirs\n"
        "traces = {s.context.trace_id for s in kept.spans}\n"
        "assert all(s.parent is None or s.parent.trace_id in traces for s in kept.spans)\n"
        "assert sum(s.parent is None for s in kept.spans) == len(traces)\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)


def test_secrets_of_our_own_environment_are_in_no_attribute(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted0000000000000000000000000")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20planted-key")
    send_once(WHOLE, otlp.exporter())
    everything = json.dumps(
        [attributes(span.attributes) for span in receiver.spans] + receiver.resources
    )
    assert "planted" not in everything


def timed(call: Any) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_a_collector_that_is_down_blocks_nothing_and_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    sender = Otlp()
    count = sender.send(WHOLE, whole=True)
    assert timed(lambda: sender.close(0.5)) < 5
    assert sender.queue.exported == 0
    deadline = time.monotonic() + 30
    while sender.queue.dropped_export < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sender.queue.dropped_export == count


def test_a_collector_that_never_answers_blocks_nothing(receiver: Receiver) -> None:
    receiver.gate.clear()
    sender = Otlp()
    sender.send(WHOLE, whole=True)
    assert timed(lambda: sender.close(0.3)) < 5
    assert receiver.spans == []


def test_a_full_queue_drops_and_counts(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.gate.clear()
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    with Otlp() as sender:
        count = sender.send(WHOLE, whole=True)
        assert sender.queue.dropped_queue > 0
        receiver.gate.set()
        assert sender.queue.force_flush(30_000)
        assert sender.queue.exported + sender.queue.dropped_queue == count


def test_a_refusal_is_counted(receiver: Receiver) -> None:
    receiver.status = 400
    assert send_once(WHOLE, otlp.exporter()) == (0, len(list(otel_spans(WHOLE, whole=True))))


def test_an_exporter_that_raises_ends_nothing() -> None:
    with Otlp(Broken()) as sender:
        count = sender.send(WHOLE, whole=True)
        assert sender.queue.force_flush(30_000)
        assert sender.queue.dropped_export == count
        samples = {
            (metric.name, *labels): value for metric, labels, value in sender.metric_samples()
        }
    assert samples["dsray_otlp_spans_dropped_total", "export"] == count
    assert samples["dsray_otlp_spans_exported_total",] == 0


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_when_spans_are_sent(
    given: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert is_wanted() is wanted


def test_an_unknown_protocol_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(UsageError, match="OTLP protocol http/json is not supported"):
        otlp.exporter()


def test_a_protocol_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
    monkeypatch.setitem(otlp.MODULES, "grpc", ("opentelemetry.no_such_exporter", "otlp-grpc"))
    with pytest.raises(UsageError, match="needs the package") as error:
        otlp.exporter()
    assert error.value.help_text == "pip install 'dsray-inspect[otlp-grpc]'"


def test_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    grpc = pytest.importorskip("grpc")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    got: list[Any] = []

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            got.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
        Service(), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        taken, dropped = send_once(WHOLE, otlp.exporter())
    finally:
        server.stop(0)
    assert (taken, dropped) == (len(list(otel_spans(WHOLE, whole=True))), 0)
    assert got


def test_the_id_generator_gives_what_was_planned() -> None:
    ids = GivenIds()
    ids.trace_id, ids.span_id = 5, 6
    assert (ids.generate_trace_id(), ids.generate_span_id()) == (5, 6)
