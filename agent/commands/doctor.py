"""`dsray-inspect doctor`: what can be read on each node, and the exact fix for what cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dsray_inspect.agent.commands._support.from_file import from_option, open_incident
from dsray_inspect.agent.commands._support.options import (
    Options,
    common_options,
    options_of,
    print_message,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.doctor.probe import diagnose
from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.launchers.registry import choose_address


@click.command("doctor", short_help="Show what can be read on each node, and how to fix the rest.")
@from_option
@common_options
def command(file: Path | None, **given: Any) -> ExitCode:
    """Show what dsray-inspect can read on each node of the cluster, and how to fix what it can't.

    Needs no job, and touches none. It checks each evidence source: Ray's tables, a call into
    the Ray Train controller, in-process reads, stacks with py-spy, the live environment read from
    outside, and GPU readings from NVML. With --from, it prints what was found when FILE was recorded.
    """
    options = options_of(given)
    printer = Printer(Diagnosis, options)

    if file is not None:
        diagnosis = _recorded(file, options)
        printer.print(diagnosis)
        return diagnosis.exit_code

    address = choose_address(options.address)
    print_message(options, f"Checking the nodes of {address} …")
    diagnosis = diagnose(address, options.address_source, inject=not options.no_inject)
    printer.print(diagnosis)
    return diagnosis.exit_code


def _recorded(file: Path, options: Options) -> Diagnosis:
    """Return what was found when a file was recorded.

    Raises:
        UsageError: It is not in the file.
    """
    found = open_incident(file, None, options)

    if found.doctor is None:
        raise UsageError(
            f"{file} has no checks of the nodes.",
            help_text=f"Its manifest says why, under left_out: unzip -p {file} manifest.json",
        )

    return found.doctor
