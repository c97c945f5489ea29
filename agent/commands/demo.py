"""`dsray-inspect demo`: a local Ray cluster, a real DeepSpeed job, and its report."""

from __future__ import annotations

import sys
from typing import Any

import click

from dsray_inspect.agent.commands._support.options import common_options, options_of
from dsray_inspect.agent.commands._support.output import TEXT, Printer
from dsray_inspect.agent.demo.progress import Progress
from dsray_inspect.agent.demo.show import JOB, Plan, Show
from dsray_inspect.agent.documents import SnapshotView
from dsray_inspect.agent.errors import ExitCode, UsageError

_FAULTS = ("hang",)


@click.command("demo", short_help="Start a local cluster with a real job, and attach to it.")
@click.option(
    "--fault",
    type=click.Choice(_FAULTS),
    help="hang: rank 1 blocks in its data function.",
)
@click.option(
    "--zero",
    type=click.IntRange(0, 3),
    default=2,
    show_default=True,
    help="DeepSpeed ZeRO stage.",
)
@click.option(
    "--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="Number of ranks."
)
@click.option(
    "--keep", is_flag=True, help="Keep running until Ctrl-C even if stdout is not a terminal."
)
@click.option("--once", is_flag=True, help="Stop after the report, even on a terminal.")
@common_options
def command(
    fault: str | None, zero: int, workers: int, keep: bool, once: bool, **given: Any
) -> ExitCode:
    """Start a local Ray cluster with a real DeepSpeed job on CPUs, and attach to it.

    On a terminal the job keeps running until Ctrl-C, so you can try the other commands on it.
    Everything is removed on exit. The exit code reports whether the demo worked, not the verdict.
    """
    options = options_of(given, limit_s=None)
    printer = Printer(SnapshotView, options)
    _check(options.address, fault, workers, keep=keep, once=once)
    progress = Progress(quiet=options.quiet)
    stays = keep or (sys.stdout.isatty() and not once)

    try:
        with Show(Plan(workers=workers, zero=zero, hang=fault == "hang"), progress) as show:
            show.start()
            snapshot = show.outcome()
            progress.say(f"\n$ dsray-inspect attach {JOB} --address {show.cluster.address}\n")

            if printer.format == TEXT:
                show.print_attach(color=options.color)
            else:
                printer.print(SnapshotView(snapshot=snapshot))

            if stays:
                progress.say(_suggestions(show.cluster.address))
                show.keep()

            progress.say("\nStopping …")
    except KeyboardInterrupt:
        progress.say("Stopped: the demo left no process and no folder behind.")
        raise

    progress.say("Stopped: the demo left no process and no folder behind.")
    return ExitCode.OK


def _check(address: str | None, fault: str | None, workers: int, *, keep: bool, once: bool) -> None:
    if address:
        raise UsageError(
            "The demo starts its own cluster, so it takes no --address.",
            help_text=f"To inspect the cluster at {address}: dsray-inspect attach --address {address}",
        )

    if fault == "hang" and workers < 2:
        raise UsageError(
            "--fault hang needs at least two ranks: rank 1 blocks while the others wait.",
            help_text="Give --workers 2 or more.",
        )

    if keep and once:
        raise UsageError("--keep and --once contradict each other.", help_text="Give one of them.")


def _suggestions(address: str) -> str:
    """Return what to try next, from another terminal."""
    commands = {
        "attach": "where every rank is",
        "why": "what the run is waiting for, and which rank is to blame",
        "stacks": "from the driver down to the collective",
        "env": "what was set for each rank, and who set it",
        "doctor": "what dsray-inspect can and cannot read here",
    }
    lines = [
        f"  dsray-inspect {name:<6} --address {address}    {what}"
        for name, what in commands.items()
    ]
    return "\n".join(["\nIn another terminal:", *lines, "\nThe demo keeps running until Ctrl-C."])
