"""`dsray-inspect doctor`: what can be read on each node, and the exact fix for what cannot."""

from __future__ import annotations

import os
from typing import Any

import click

from dsray_inspect.agent.commands._support.options import (
    Options,
    common_options,
    options_of,
    print_message,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.doctor.probe import diagnose
from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.launchers.registry import choose_address


@click.command("doctor", short_help="Show what can be read on each node, and how to fix the rest.")
@common_options
def command(**given: Any) -> ExitCode:
    """Show what dsray-inspect can read on each node of the cluster, and how to fix what it can't.

    Needs no job, and touches none. It checks each evidence source: Ray's tables, a call into
    the Ray Train controller, in-process reads, stacks with py-spy, the live environment read from
    outside, and GPU readings from NVML.
    """
    options = options_of(given)
    printer = Printer(Diagnosis, options)
    address = choose_address(options.address)
    print_message(options, f"Checking the nodes of {address} …")
    diagnosis = diagnose(address, _address_source(options), inject=not options.no_inject)
    printer.print(diagnosis)
    return diagnosis.exit_code


def _address_source(options: Options) -> str:
    if options.address:
        return "--address"

    return "RAY_ADDRESS" if os.environ.get("RAY_ADDRESS") else "found on this machine"
