"""`dsray-inspect ls`: which jobs with Ray Train runs a cluster has."""

from __future__ import annotations

from typing import Any

import click

from dsray_inspect.agent.commands._support.options import (
    common_options,
    local_option,
    options_of,
    print_message,
)
from dsray_inspect.agent.commands._support.output import TEXT, Printer
from dsray_inspect.agent.documents import RunList
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.run_rows import is_running, row_of
from dsray_inspect.agent.session import Session


@click.command("ls")
@click.option(
    "--all",
    "show_all",
    is_flag=True,
    help="Include jobs that have ended or have no training run.",
)
@local_option
@common_options
def command(show_all: bool, **given: Any) -> ExitCode:
    """List the jobs with running Ray Train runs."""
    options = options_of(given)
    printer = Printer(RunList, options)

    with Session(options.choose_address()) as session:
        candidates = session.candidates(inject=not options.no_inject)

    runs = tuple(row_of(candidate) for candidate in candidates if show_all or is_running(candidate))

    if runs or printer.format != TEXT:
        printer.print(RunList(runs=runs))
    else:
        print_message(
            options,
            "No training run is active. `dsray-inspect ls --all` includes those that have ended.",
        )

    return ExitCode.OK
