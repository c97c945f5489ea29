"""`dsray-inspect stacks`: the stack of every rank, from the driver to the collective."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands.attach import code_of
from dsray_inspect.agent.commands.options import common_options, say, take
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.model import OK, Job, Log, Run, Snapshot, StackGroup
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.stacks.collapsed import lines
from dsray_inspect.agent.text.logs import logs_text
from dsray_inspect.agent.text.stacks import stacks_text
from dsray_inspect.agent.text.style import Style

LOG_LINES = 20
MOST_LOG_LINES = 200


class UnseenRank(msgspec.Struct, frozen=True, kw_only=True):
    """A rank whose stack could not be had, and why."""

    rank: int | None
    pid: int
    node_ip: str
    why: str


class StacksDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What `stacks --json` prints; `pause_ms` and `logs` are by rank."""

    schema_version: int = 1
    taken_at: float
    took_s: float
    job: Job
    run: Run | None
    groups: tuple[StackGroup, ...]
    unseen: tuple[UnseenRank, ...]
    pause_ms: dict[str, float]
    notes: tuple[str, ...]
    logs: dict[str, Log]
    """Of the ranks asked for with `--log`."""


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
    type=click.IntRange(1, MOST_LOG_LINES),
    help=f"Lines of each log file to show with --log (default {LOG_LINES}).",
)
@click.option("--full", is_flag=True, help="Show all frames.")
@click.option("--collapsed", is_flag=True, help="Print one line per stack, for flame graph tools.")
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
    collapsed: bool,
    **given: Any,
) -> ExitCode:
    """Show the stacks of JOB's driver, controller and ranks, merging identical ones."""
    options = take(given)

    if collapsed and options.as_json:
        raise UsageError(
            "--collapsed and --json contradict each other.", help_text="Give one of them."
        )

    wanted = wanted_lines(with_log, log_lines, ranks=ranks, collapsed=collapsed)

    if native:
        say(options, "--native: py-spy pauses each rank while it reads it.")

    plain = options.request(env=False, deepspeed=False)
    ask = msgspec.structs.replace(plain, native=native, locals=with_locals, children=all_threads)

    with Session(choose_address(options.address), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)

        if ranks and (ask.from_outside or wanted):
            # Which actor is which rank is known only after a look.
            chosen = only_ranks(session.snapshot(candidate, plain), ranks).workers
            only = frozenset(one.actor_id for one in chosen)
            ask = msgspec.structs.replace(ask, only=only, log_lines=wanted)

        snapshot = session.snapshot(candidate, ask, all_threads=all_threads)

    snapshot = only_ranks(snapshot, ranks)

    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.encode(document(snapshot)) + b"\n")
    elif collapsed:
        click.echo("\n".join(lines(snapshot.stacks.groups, threads=all_threads)))
    else:
        style = Style(color=options.color)
        parts = (stacks_text(snapshot, style, full=full), logs_text(snapshot, style))
        click.echo("\n\n".join(part for part in parts if part), color=options.color)

    code_of(snapshot)
    return ExitCode.OK


def wanted_lines(
    with_log: bool, lines: int | None, *, ranks: tuple[int, ...], collapsed: bool
) -> int:
    """Return how many lines of each log file are wanted; 0 for none.

    Raises:
        UsageError: the options do not go together.
    """
    if not with_log:
        if lines is not None:
            raise UsageError("--lines only applies to --log.", help_text="Add --log.")

        return 0

    if not ranks:
        raise UsageError("--log needs a rank.", help_text="Add --rank N.")

    if collapsed:
        raise UsageError(
            "--collapsed cannot show logs.", help_text="Leave out --collapsed or --log."
        )

    return LOG_LINES if lines is None else lines


def only_ranks(snapshot: Snapshot, ranks: tuple[int, ...]) -> Snapshot:
    """Return the snapshot with these ranks' stacks only; all without any.

    Raises:
        UsageError: there is no such rank.
    """
    if not ranks:
        return snapshot

    there = {worker.rank for worker in snapshot.workers}
    missing = [rank for rank in ranks if rank not in there]

    if missing:
        known = sorted(rank for rank in there if rank is not None)
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


def document(snapshot: Snapshot) -> StacksDocument:
    return StacksDocument(
        taken_at=snapshot.taken_at,
        took_s=snapshot.took_s,
        job=snapshot.job,
        run=snapshot.run,
        groups=snapshot.stacks.groups,
        unseen=tuple(
            UnseenRank(rank=one.rank, pid=one.pid, node_ip=one.node_ip, why=one.evidence.stack)
            for one in snapshot.workers
            if one.evidence.stack != OK
        ),
        pause_ms={str(one.rank): one.pause_ms for one in snapshot.workers},
        notes=snapshot.notes,
        logs={str(one.rank): one.log for one in snapshot.workers if one.log is not None},
    )
