"""`dsray-inspect trace`: where the time of every rank goes, span by span."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from dsray_inspect.agent.commands._support.from_file import (
    from_option,
    open_incident,
    reject_with_file,
)
from dsray_inspect.agent.commands._support.options import (
    DEFAULT_TIMEOUT_S,
    Options,
    common_options,
    options_of,
    print_message,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.documents import TraceView
from dsray_inspect.agent.errors import ClusterUnreachable, ExitCode, UsageError
from dsray_inspect.agent.formats import Renderer, renderer_of
from dsray_inspect.agent.incident.recorded_trace import recorded_timeline
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.style import PLAIN
from dsray_inspect.agent.timeline import Timeline

_DEFAULT_SECONDS: Final = 10.0
_FILE_FORMAT: Final = "perfetto"
_NO_INJECT: Final = "Tracing runs code inside the ranks, which --no-inject forbids."


@click.command("trace", short_help="Record where JOB's training steps spend their time.")
@click.argument("job", required=False)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=3600),
    help=f"How long to record (default {_DEFAULT_SECONDS:g}).",
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
@from_option
@common_options
def command(
    job: str | None,
    seconds: float | None,
    past: bool,
    output: Path | None,
    otlp: bool,
    file: Path | None,
    **given: Any,
) -> ExitCode:
    """Record the training steps of JOB: where each rank spends its time, and which rank is late.

    While it records, it wraps a few methods of DeepSpeed and Ray in every rank, and then restores
    them. With --past it wraps nothing and infers the steps from the collectives in torch's flight
    recorders; with --from, from those that `record` has read. Ctrl-C stops the recording early and
    keeps what it has.
    """
    recorded_s = seconds or _DEFAULT_SECONDS
    options = options_of(given, limit_s=DEFAULT_TIMEOUT_S + (0 if past else recorded_s))
    printer = Printer(TraceView, options)

    _check(options, output, is_live=file is None)
    push = _span_pusher() if otlp else None

    if file is None:
        timeline, is_complete = _traced(job, None if past else recorded_s, options)
        view = TraceView(timeline=timeline, past=past, now_ns=time.time_ns(), file=output)
    else:
        reject_with_file(file, seconds=seconds is not None)
        timeline = recorded_timeline(file, open_incident(file, job, options, start=True))
        now_ns, is_complete = timeline.until_ns or timeline.last_ns, True
        view = TraceView(timeline=timeline, past=True, now_ns=now_ns, file=output)

    _show(view, printer, options)

    if push is not None:
        push(timeline, options)

    return ExitCode.OK if is_complete else ExitCode.INTERRUPTED


def _show(view: TraceView, printer: Printer[TraceView], options: Options) -> None:
    """Write the trace file that is wanted, and print the rest."""
    if view.file is not None:
        _write_file(view.file, view, renderer_of(TraceView, _FILE_FORMAT))

    printer.print(view)

    if view.file is not None:
        spans = len(view.timeline.spans)
        print_message(options, f"{view.file}: {spans} spans; open it at https://ui.perfetto.dev")


def _traced(job: str | None, seconds: float | None, options: Options) -> tuple[Timeline, bool]:
    """Return the spans of a live run, and whether it was traced for as long as was asked for."""
    with Session(options.choose_address(), options.hint(job)) as session:
        candidate = session.find(job)
        request = options.request(env=False, start=seconds is None)
        snapshot = session.snapshot(candidate, request)
        return session.trace(candidate, snapshot, seconds=seconds, ask=options.request())


def _check(options: Options, output: Path | None, *, is_live: bool) -> None:
    """Refuse what is known to fail before anything is traced.

    Raises:
        UsageError: Nothing may run inside the ranks, or the file cannot be written.
    """
    if options.no_inject and is_live:
        raise UsageError(
            _NO_INJECT, help_text="Leave out --no-inject; SECURITY.md lists the code that runs."
        )

    if output is not None and not os.access(output.parent, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {output.parent} does not exist or is not writable.")


def _span_pusher() -> Callable[[Timeline, Options], None]:
    """Return a function that sends spans to a collector.

    Raises:
        UsageError: A package that it needs is missing, which is known before anything is traced.
    """
    try:
        from dsray_inspect.exporters.otlp import exporter, send_once
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--otlp needs the package {error.name}, which is not installed.",
            help_text="pip install 'dsray-inspect[export]'",
        ) from error

    sender = exporter()

    def push(timeline: Timeline, options: Options) -> None:
        accepted, dropped = send_once(timeline, sender)

        if dropped:
            raise ClusterUnreachable(
                f"The OpenTelemetry collector accepted {accepted} of {accepted + dropped} spans.",
                help_text="Check OTEL_EXPORTER_OTLP_ENDPOINT, and that the collector is running.",
            )

        print_message(options, f"The OpenTelemetry collector accepted {accepted} spans.")

    return push


def _write_file(path: Path, view: TraceView, render: Renderer[TraceView]) -> None:
    """Write the whole file or nothing.

    Raises:
        UsageError: It cannot be written.
    """
    rendered = render(view, PLAIN)
    content = rendered if isinstance(rendered, bytes) else rendered.encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")

    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()

        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
