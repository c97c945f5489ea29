"""`dsray-inspect launch`: the same job as another launcher would start it, explained."""

from __future__ import annotations

from typing import Any, Final, get_args

import click

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.options import common_options, local_option, options_of
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.errors import ExitCode, TargetNotFound, UsageError
from dsray_inspect.agent.launch.facts import facts_of
from dsray_inspect.agent.launch.plan import LauncherName, LaunchPlan
from dsray_inspect.agent.launch.planner import plan_of
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.session import Session

LAUNCHERS: Final[tuple[LauncherName, ...]] = get_args(LauncherName)
_DEFAULT_PORT = 29500
"""Torch's and DeepSpeed's own."""


@click.command("launch", short_help="Show how torchrun, deepspeed, mpirun, … would start JOB.")
@click.argument("job", required=False)
@click.option(
    "--as",
    "launcher",
    metavar="NAME",
    help=f"The other launcher: {', '.join(LAUNCHERS[:-1])} or {LAUNCHERS[-1]}.",
)
@click.option(
    "--master-port",
    type=click.IntRange(1, 65535),
    default=_DEFAULT_PORT,
    metavar="PORT",
    help=f"Port at which the ranks meet (default {_DEFAULT_PORT}).",
)
@local_option
@common_options
def command(job: str | None, launcher: str | None, master_port: int, **given: Any) -> ExitCode:
    """Show JOB as another launcher would start it: command or manifest, each rank's variables
    beside those it has now, and what its present launcher does that the other will not.

    It explains the launch; it does not migrate the job.
    """
    options = options_of(given)
    name = _chosen(launcher)
    printer = Printer(LaunchPlan, options)

    with Session(options.choose_address(), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        snapshot = session.snapshot(candidate, options.request(deepspeed=False))
        helpers = session.helpers(candidate)

    exit_code_of(snapshot)  # Raises if nothing could be read.
    _refuse_without_ranks(snapshot)
    facts = facts_of(candidate, snapshot, helpers)
    printer.print(plan_of(facts, snapshot, name, port=master_port))
    return ExitCode.OK


def _chosen(launcher: str | None) -> LauncherName:
    """Return the launcher that is meant.

    Raises:
        UsageError: There is no such launcher, or none is named.
    """
    for name in LAUNCHERS:
        if launcher == name:
            return name

    known = f"{', '.join(LAUNCHERS[:-1])} or {LAUNCHERS[-1]}"

    if launcher is None:
        raise UsageError(f"--as is missing; give {known}.", help_text="For example, --as torchrun")

    raise UsageError(
        f"There is no launcher {launcher}; give {known}.", help_text="For example, --as torchrun"
    )


def _refuse_without_ranks(snapshot: Snapshot) -> None:
    """Check that there is something to plan from.

    Raises:
        TargetNotFound: No rank of the job is known.
    """
    if not any(worker.rank is not None for worker in snapshot.workers):
        raise TargetNotFound(
            f"No rank of {snapshot.job.label} is known, so there is no launch to explain.",
            help_text="dsray-inspect attach   shows what the job waits for.",
        )
