"""`dsray-inspect attach`: where every rank is, in one look."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from dsray_inspect.agent.cluster.connect import choose_address
from dsray_inspect.agent.commands.options import Options, common_options, take
from dsray_inspect.agent.errors import ExitCode, PermissionMissing
from dsray_inspect.agent.model import OK, Snapshot
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.report import report
from dsray_inspect.agent.text.style import Style

FINE = ("healthy", "starting", "finished")


@click.command("attach")
@click.argument("job", required=False)
@common_options
def command(job: str | None, **given: Any) -> ExitCode:
    """Show every rank of JOB: node, GPU, pid, the function it is in, and what is wrong.

    JOB is a submission id, a Ray job id, a Train run id or a run's name. Left out, it is the
    only one that runs.
    """
    options = take(given)

    with Session(choose_address(options.address)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        snapshot = session.snapshot(candidate, options.ask(job, start=True))

    show(snapshot, options)
    return code_of(snapshot)


def show(snapshot: Snapshot, options: Options) -> None:
    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.encode(snapshot) + b"\n")
    else:
        click.echo(report(snapshot, Style(color=options.color)), color=options.color)


def code_of(snapshot: Snapshot) -> ExitCode:
    """Return the exit code a snapshot ends in: findings, or nothing wrong.

    Raises:
        PermissionMissing: there are ranks, and no rung saw a single one.
    """
    alive = [worker for worker in snapshot.workers if worker.state == "alive"]
    blind = [worker for worker in alive if worker.evidence.stack != OK]

    if alive and len(blind) == len(alive) and all(w.evidence.worker != OK for w in alive):
        raise PermissionMissing(
            f"No rung could see any rank: {blind[0].evidence.stack}; {blind[0].evidence.worker}.",
            help_text="dsray-inspect doctor   says what each node needs.",
        )

    return (
        ExitCode.OK
        if snapshot.verdict.state in FINE and not snapshot.findings
        else ExitCode.FINDINGS
    )
