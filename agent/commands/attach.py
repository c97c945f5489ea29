"""`dsray-inspect attach`: where every rank is, live on a terminal, else as a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.follow import exit_when_stdin_closes, follow
from dsray_inspect.agent.commands._support.from_file import from_option, open_incident
from dsray_inspect.agent.commands._support.options import (
    Options,
    common_options,
    lift_default_timeout,
    local_option,
    options_of,
)
from dsray_inspect.agent.commands._support.output import TEXT, Printer
from dsray_inspect.agent.commands._support.terminal import (
    show_live,
    show_recorded,
    wants_terminal_ui,
)
from dsray_inspect.agent.documents import SnapshotView
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.feed import Event, HistoryLoaded, SampleTaken
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.past import past_of
from dsray_inspect.agent.recording import read_window
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.settling import settle

EVERY_S: Final = 0.5
_WITHOUT_HISTORY: Final = "json"
"""A snapshot has no place for what the ranks did before."""


@click.command("attach", short_help="Show where every rank of JOB is, and what is wrong.")
@click.argument("job", required=False)
@click.option("--text", is_flag=True, help="Print a one-shot report, even on a terminal.")
@click.option(
    "--follow",
    "is_followed",
    is_flag=True,
    help="Print one JSON snapshot per line until the job ends.",
)
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    default=EVERY_S,
    metavar="S",
    help="Seconds between samples (default 0.5).",
)
@click.option(
    "--replay",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Show recorded snapshots instead of a live job.",
)
@click.option("--end-with-stdin", is_flag=True, hidden=True, help="End when stdin is closed.")
@click.option("--columns", "as_columns", is_flag=True, hidden=True, help="Print for our own TUI.")
@from_option
@local_option
@common_options
def command(
    job: str | None,
    text: bool,
    is_followed: bool,
    every_s: float,
    replay: Path | None,
    end_with_stdin: bool,
    as_columns: bool,
    file: Path | None,
    **given: Any,
) -> ExitCode:
    """Show every rank of JOB: its node, GPU, pid and current function, and what is wrong.

    On a terminal this opens a live UI (`?` lists the keys). In a pipe, or with --text or --json,
    it takes samples until a verdict can be given, as `why` does, and prints a report. JOB is a
    submission id, a Ray job id, a Ray Train run id or a run name; without it, dsray-inspect
    attaches to the only running job.
    """
    options = options_of(given)

    if is_followed and (file or replay) is not None:
        raise UsageError("--follow needs a live job.", help_text="Leave out --follow.")

    if is_followed:
        lift_default_timeout(options)
        exit_when_stdin_closes(end_with_stdin)
        return follow(job, options, every_s, as_columns=as_columns)

    options = options.with_format(TEXT, flag="--text", is_given=text)
    printer = Printer(SnapshotView, options)
    on_terminal = wants_terminal_ui(options)

    if replay is not None:
        events = _replayed(replay, job if file is None else str(file))
        return _show(events, on_terminal, printer, options)

    if file is not None:
        found = open_incident(file, job, options, keep=None if on_terminal else 2, start=True)
        return _show(found.events(), on_terminal, printer, options)

    if on_terminal:
        lift_default_timeout(options)
        ended_with = show_live(job, options, every_s)
        return exit_code_of(ended_with) if isinstance(ended_with, Snapshot) else ended_with

    return _report(job, options, printer)


def _report(job: str | None, options: Options, printer: Printer[SnapshotView]) -> ExitCode:
    """Print where the ranks of a live job are, once a verdict can be given."""
    with Session(options.choose_address(), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        request = options.request(recorder="always", counters=True, start=True)
        snapshot = settle(session, candidate, request).snapshot
        history = (
            None
            if printer.format == _WITHOUT_HISTORY
            else past_of(session, candidate, snapshot, request)
        )

    printer.print(SnapshotView(snapshot=snapshot, history=history))
    return exit_code_of(snapshot)


def _replayed(file: Path, other: str | None) -> list[Event]:
    if other is not None:
        raise UsageError("Give a job or --replay FILE, not both.")

    return read_window(file)


def _show(
    events: list[Event], on_terminal: bool, printer: Printer[SnapshotView], options: Options
) -> ExitCode:
    """Show a recording; without a terminal, its last snapshot."""
    last = [event.snapshot for event in events if isinstance(event, SampleTaken)][-1]
    histories = (event.history for event in events if isinstance(event, HistoryLoaded))

    if on_terminal:
        lift_default_timeout(options)
        show_recorded(events, last.job.label)
    else:
        printer.print(SnapshotView(snapshot=last, history=next(histories, None)))

    return exit_code_of(last)
