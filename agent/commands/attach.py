"""`dsray-inspect attach`: where every rank is, live on a terminal, else in one look."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands.follow import follow, keep_on_leash
from dsray_inspect.agent.commands.options import Options, common_options, take, without_limit
from dsray_inspect.agent.commands.terminal import is_wanted, show_live, show_recorded
from dsray_inspect.agent.errors import ExitCode, InspectError, PermissionMissing, UsageError
from dsray_inspect.agent.feed import HistoryLoaded, SampleTaken
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.history import History
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.model import OK, Snapshot
from dsray_inspect.agent.recording import read_window
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.report import report
from dsray_inspect.agent.text.style import Style

FINE = ("healthy", "starting", "finished")
EVERY_S = 0.5


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
@click.option("--leash", is_flag=True, hidden=True, help="End when stdin is closed.")
@click.option("--columns", "as_columns", is_flag=True, hidden=True, help="Print for our own TUI.")
@common_options
def command(
    job: str | None,
    text: bool,
    is_followed: bool,
    every_s: float,
    replay: Path | None,
    leash: bool,
    as_columns: bool,
    **given: Any,
) -> ExitCode:
    """Show every rank of JOB: its node, GPU, pid and current function, and what is wrong.

    On a terminal this opens a live UI (`?` lists the keys). In a pipe, or with --text or --json,
    it takes one sample and prints a report. JOB is a submission id, a Ray job id, a Ray Train run
    id or a run name; without it, dsray-inspect attaches to the only running job.
    """
    options = take(given)
    on_terminal = is_wanted(options) and not text and not is_followed

    if replay is not None:
        return replayed(replay, job, on_terminal, options)

    if is_followed or on_terminal:
        without_limit(options)

    if is_followed:
        keep_on_leash(leash)
        return follow(job, options, every_s, as_columns=as_columns)

    if on_terminal:
        snapshot = show_live(job, options, every_s)
        return code_of(snapshot) if isinstance(snapshot, Snapshot) else snapshot

    with Session(choose_address(options.address), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        ask = options.request(start=True)
        snapshot = session.snapshot(candidate, ask)
        past = None if options.as_json else past_of(session, candidate, snapshot, ask)

    show(snapshot, options, past)
    return code_of(snapshot)


def past_of(
    session: Session, candidate: Candidate, snapshot: Snapshot, ask: SampleRequest
) -> History | None:
    """Return what the ranks did until now; None where reading it would stop one that runs."""
    stands = all(one.evidence.collectives == OK for one in snapshot.workers)

    if not snapshot.workers or not stands:
        return None

    try:
        return session.history(candidate, snapshot, ask)
    except InspectError:
        return None


def replayed(file: Path, job: str | None, on_terminal: bool, options: Options) -> ExitCode:
    """Show a window from a file; the last look of it where there is no terminal."""
    if job is not None:
        raise UsageError("Give a job or --replay FILE, not both.")

    events = read_window(file)
    last = [event.snapshot for event in events if isinstance(event, SampleTaken)][-1]
    past = next((event.history for event in events if isinstance(event, HistoryLoaded)), None)

    if on_terminal:
        without_limit(options)
        show_recorded(events, last.job.label)
    else:
        show(last, options, past)

    return code_of(last)


def show(snapshot: Snapshot, options: Options, past: History | None) -> None:
    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.encode(snapshot) + b"\n")
    else:
        click.echo(report(snapshot, Style(color=options.color), past), color=options.color)


def code_of(snapshot: Snapshot) -> ExitCode:
    """Return the exit code a snapshot ends in: findings, or nothing wrong.

    Raises:
        PermissionMissing: there are ranks, and no rung saw a single one.
    """
    alive = [worker for worker in snapshot.workers if worker.state == "alive"]
    blind = [worker for worker in alive if worker.evidence.stack != OK]

    if alive and len(blind) == len(alive) and all(w.evidence.worker != OK for w in alive):
        raise PermissionMissing(
            f"No rank could be read: {blind[0].evidence.stack}; {blind[0].evidence.worker}.",
            help_text="dsray-inspect doctor   shows what each node needs.",
        )

    return (
        ExitCode.OK
        if snapshot.verdict.state in FINE and not snapshot.findings
        else ExitCode.FINDINGS
    )
