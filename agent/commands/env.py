"""`dsray-inspect env`: every rank's live environment, and who set what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.from_file import from_option, open_incident
from dsray_inspect.agent.commands._support.options import common_options, local_option, options_of
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.documents import EnvView
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.session import Session


@click.command("env", short_help="Show JOB's live environment: what differs, and who set it.")
@click.argument("job", required=False)
@click.option(
    "--all", "show_all", is_flag=True, help="Show every variable, and show values in full."
)
@from_option
@local_option
@common_options
def command(job: str | None, show_all: bool, file: Path | None, **given: Any) -> ExitCode:
    """Show the live environment of JOB's ranks: what differs, and who set each variable."""
    options = options_of(given)
    printer = Printer(EnvView, options)

    if file is not None:
        snapshot = open_incident(file, job, options).last
    else:
        with Session(options.choose_address(), options.hint(job)) as session:
            candidate = session.find(job, inject=not options.no_inject)
            snapshot = session.snapshot(candidate, options.request(deepspeed=False))

    printer.print(EnvView(snapshot=snapshot, show_all=show_all))
    exit_code_of(snapshot)  # Raises if nothing could be read.
    return ExitCode.OK
