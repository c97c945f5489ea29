"""`dsray-inspect doctor`: which rung each node can reach, and the exact fix for those it cannot."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands.options import Options, common_options, say, take
from dsray_inspect.agent.doctor.probe import diagnose
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.text.doctor import diagnosis_text
from dsray_inspect.agent.text.style import Style


@click.command("doctor", short_help="Show what can be read on each node, and how to fix the rest.")
@common_options
def command(**given: Any) -> ExitCode:
    """Show what dsray-inspect can read on each node of the cluster, and how to fix what it can't.

    Needs no job, and touches none. It checks each rung of the evidence ladder: 0 Ray's tables,
    1 a call into the Ray Train controller, 2 in-process reads, 3 stacks with py-spy, 3b the live
    environment read from outside, and GPU readings from NVML.
    """
    options = take(given)
    address = choose_address(options.address)
    say(options, f"Checking the nodes of {address} …")
    diagnosis = diagnose(address, found_by(options), inject=not options.no_inject)

    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.encode(diagnosis) + b"\n")
    else:
        click.echo(diagnosis_text(diagnosis, Style(color=options.color)), color=options.color)

    return diagnosis.exit_code


def found_by(options: Options) -> str:
    if options.address:
        return "--address"

    return "RAY_ADDRESS" if os.environ.get("RAY_ADDRESS") else "found on this machine"
