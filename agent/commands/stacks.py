"""`dsray-inspect stacks`: the stack of every rank, from the driver to the collective."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.from_file import (
    from_option,
    open_incident,
    reject_with_file,
)
from dsray_inspect.agent.commands._support.options import (
    common_options,
    local_option,
    options_of,
    print_message,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.documents import StacksView
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.session import Session

_COLLAPSED: Final = "collapsed"
_DEFAULT_LOG_LINES: Final = 20
_MAX_LOG_LINES: Final = 200


@click.command("stacks", short_help="Show the stacks of JOB's driver, controller and ranks.")
@click.argument("job", required=False)
@click.option(
    "--native", is_flag=True, help="Include C and C++ frames. Pauses each rank for up to a second."
)
@click.option(
    "--locals",
    "with_locals",
    is_flag=True,
    help="Show local variables, with secrets redacted.",
)
@click.option(
    "--all-threads",
    is_flag=True,
    help="Show every thread, and child processes such as DataLoader workers.",
)
@click.option(
    "--rank",
    "ranks",
    type=click.IntRange(min=0),
    multiple=True,
    help="Show only this rank (repeatable).",
)
@click.option(
    "--log",
    "with_log",
    is_flag=True,
    help="Show the end of the rank's log files, with secrets redacted.",
)
@click.option(
    "--lines",
    "log_lines",
    type=click.IntRange(1, _MAX_LOG_LINES),
    help=f"Lines of each log file to show with --log (default {_DEFAULT_LOG_LINES}).",
)
@click.option("--full", is_flag=True, help="Show all frames.")
@click.option(
    "--collapsed",
    "as_collapsed",
    is_flag=True,
    help="Print one line per stack, for flame graph tools; same as --format collapsed.",
)
@from_option
@local_option
@common_options
def command(
    job: str | None,
    native: bool,
    with_locals: bool,
    all_threads: bool,
    ranks: tuple[int, ...],
    with_log: bool,
    log_lines: int | None,
    full: bool,
    as_collapsed: bool,
    file: Path | None,
    **given: Any,
) -> ExitCode:
    """Show the stacks of JOB's driver, controller and ranks, merging identical ones."""
    options = options_of(given).with_format(_COLLAPSED, flag="--collapsed", is_given=as_collapsed)
    printer = Printer(StacksView, options)
    log_line_count = _log_line_count(with_log, log_lines, ranks=ranks, format_name=printer.format)

    if file is not None:
        reject_with_file(file, native=native, locals=with_locals)
        found = open_incident(file, job, options, all_threads=all_threads)
        recorded = found.with_logs(log_line_count) if log_line_count else found.last
        return _print(printer, only_ranks(recorded, ranks), full=full, all_threads=all_threads)

    if native:
        print_message(options, "--native: py-spy pauses each rank while it reads it.")

    plain = options.request(env=False, deepspeed=False)
    request = msgspec.structs.replace(
        plain, native=native, locals=with_locals, children=all_threads
    )

    with Session(options.choose_address(), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)

        if ranks and (request.from_outside or log_line_count):
            # Which actor is which rank is known only after a sample.
            chosen = only_ranks(session.snapshot(candidate, plain), ranks).workers
            only = frozenset(worker.actor_id for worker in chosen)
            request = msgspec.structs.replace(request, only=only, log_lines=log_line_count)

        snapshot = session.snapshot(candidate, request, all_threads=all_threads)

    return _print(printer, only_ranks(snapshot, ranks), full=full, all_threads=all_threads)


def _print(
    printer: Printer[StacksView], snapshot: Snapshot, *, full: bool, all_threads: bool
) -> ExitCode:
    printer.print(StacksView(snapshot=snapshot, full=full, all_threads=all_threads))
    exit_code_of(snapshot)  # Raises if nothing could be read.
    return ExitCode.OK


def _log_line_count(
    with_log: bool, lines: int | None, *, ranks: tuple[int, ...], format_name: str
) -> int:
    """Return how many lines of each log file to read; 0 for none.

    Raises:
        UsageError: The options do not go together.
    """
    if not with_log:
        if lines is not None:
            raise UsageError("--lines only applies to --log.", help_text="Add --log.")

        return 0

    if not ranks:
        raise UsageError("--log needs a rank.", help_text="Add --rank N.")

    if format_name == _COLLAPSED:
        raise UsageError(
            "The collapsed format cannot show logs.", help_text="Leave out --log, or the format."
        )

    return _DEFAULT_LOG_LINES if lines is None else lines


def only_ranks(snapshot: Snapshot, ranks: tuple[int, ...]) -> Snapshot:
    """Return the snapshot with the stacks of these ranks only, or unchanged if there are none.

    Raises:
        UsageError: There is no such rank.
    """
    if not ranks:
        return snapshot

    present = {worker.rank for worker in snapshot.workers}
    missing = [rank for rank in ranks if rank not in present]

    if missing:
        known = sorted(rank for rank in present if rank is not None)
        span = f"{known[0]} to {known[-1]}" if known else "none"
        raise UsageError(f"There is no rank {missing[0]} in this run (ranks: {span}).")

    groups = tuple(
        msgspec.structs.replace(group, ranks=tuple(rank for rank in group.ranks if rank in ranks))
        for group in snapshot.stacks.groups
        if group.role in ("driver", "controller") or set(group.ranks) & set(ranks)
    )
    workers = tuple(worker for worker in snapshot.workers if worker.rank in ranks)
    stacks = msgspec.structs.replace(snapshot.stacks, groups=groups)
    return msgspec.structs.replace(snapshot, stacks=stacks, workers=workers)
