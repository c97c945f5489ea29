"""`dsray-inspect trace`: where the time of every rank goes, span by span."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands.options import LIMIT_S, Options, common_options, say, take
from dsray_inspect.agent.errors import ClusterUnreachable, ExitCode, UsageError
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.style import Style
from dsray_inspect.agent.text.trace import trace_text
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.agent.tracing.summarize import summarize
from dsray_inspect.agent.tracing.summary import Summary
from dsray_inspect.exporters import trace_json

SECONDS = 10.0
NO_INJECT = "Tracing runs code inside the ranks, which --no-inject forbids."


class TraceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What `trace --json` prints; the timeline is left out where it goes to a file."""

    schema_version: int = 1
    past: bool
    summary: Summary
    file: str | None
    timeline: Timeline | None
    dropped: int
    notes: tuple[str, ...]


@click.command("trace", short_help="Record where JOB's training steps spend their time.")
@click.argument("job", required=False)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=3600),
    default=SECONDS,
    show_default=True,
    help="How long to record.",
)
@click.option(
    "--past",
    is_flag=True,
    help="Reconstruct past steps from torch's flight recorders instead of recording.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.json",
    help="Write a trace file for Perfetto.",
)
@click.option(
    "--otlp",
    is_flag=True,
    help="Send the spans to the OpenTelemetry collector set by OTEL_EXPORTER_OTLP_*.",
)
@common_options
def command(
    job: str | None, seconds: float, past: bool, output: Path | None, otlp: bool, **given: Any
) -> ExitCode:
    """Record the training steps of JOB: where each rank spends its time, and which rank is late.

    While it records, it wraps a few methods of DeepSpeed and Ray in every rank, and then restores
    them. With --past it wraps nothing and infers the steps from the collectives in torch's flight
    recorders. Ctrl-C stops the recording early and keeps what it has.
    """
    options = take(given, limit_s=LIMIT_S + (0 if past else seconds))

    if options.no_inject:
        raise UsageError(
            NO_INJECT, help_text="Leave out --no-inject; SECURITY.md lists the code that runs."
        )

    if output is not None and not os.access(output.parent, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {output.parent} does not exist or is not writable.")

    push = pusher() if otlp else None

    with Session(choose_address(options.address), options.hint(job)) as session:
        candidate = session.find(job)
        snapshot = session.snapshot(candidate, options.request(env=False, start=past))
        spans, whole = session.trace(
            candidate, snapshot, seconds=None if past else seconds, ask=options.request()
        )

    show(spans, options, past=past, output=output)

    if push is not None:
        push(spans, options)

    return ExitCode.OK if whole else ExitCode.INTERRUPTED


def show(spans: Timeline, options: Options, *, past: bool, output: Path | None) -> None:
    """Write the file, then say what is in it."""
    if output is not None:
        write(output, trace_json.encode(spans))

    summary = summarize(without_start(spans))

    if options.as_json:
        document = TraceDocument(
            past=past,
            summary=summary,
            file=str(output) if output else None,
            timeline=None if output else spans,
            dropped=spans.dropped,
            notes=spans.notes,
        )
        sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    else:
        style = Style(color=options.color)
        text = trace_text(summary, spans.notes, style, past=past, now_ns=time.time_ns())
        click.echo(text, color=options.color)

    if output is not None:
        say(options, f"{output}: {len(spans.spans)} spans; open it at https://ui.perfetto.dev")


def without_start(spans: Timeline) -> Timeline:
    """Return the spans that are summed up: the run's start is in the file, and told by `attach`."""
    kept = tuple(one for one in spans.spans if one.kind != "startup")
    return msgspec.structs.replace(spans, spans=kept)


def pusher() -> Callable[[Timeline, Options], None]:
    """Return what sends spans to a collector; what is missing for that is said before any is made."""
    try:
        from dsray_inspect.exporters.otlp import exporter, send_once
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--otlp needs the package {error.name}, which is not installed.",
            help_text="pip install 'dsray-inspect[export]'",
        ) from error

    sender = exporter()

    def push(spans: Timeline, options: Options) -> None:
        taken, dropped = send_once(spans, sender)

        if dropped:
            raise ClusterUnreachable(
                f"The OpenTelemetry collector accepted {taken} of {taken + dropped} spans.",
                help_text="Check OTEL_EXPORTER_OTLP_ENDPOINT, and that the collector is running.",
            )

        say(options, f"The OpenTelemetry collector accepted {taken} spans.")

    return push


def write(path: Path, content: bytes) -> None:
    """Put the content there whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")

    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()

        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
