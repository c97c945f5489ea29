"""`dsray-inspect demo`: a local Ray cluster, a real DeepSpeed job, and a look at it."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands.options import common_options, take
from dsray_inspect.agent.demo.progress import Progress
from dsray_inspect.agent.demo.show import JOB, Plan, Show
from dsray_inspect.agent.errors import ExitCode, UsageError

FAULTS = ("hang",)


@click.command("demo")
@click.option(
    "--fault",
    type=click.Choice(FAULTS),
    help="hang: rank 1 blocks in its data function, so that there is something to find.",
)
@click.option(
    "--zero",
    type=click.IntRange(0, 3),
    default=2,
    show_default=True,
    help="DeepSpeed's ZeRO stage.",
)
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="Ranks.")
@click.option("--keep", is_flag=True, help="Stay until Ctrl-C even where stdout is no terminal.")
@click.option("--once", is_flag=True, help="Stop everything after the report.")
@common_options
def command(
    fault: str | None, zero: int, workers: int, keep: bool, once: bool, **given: Any
) -> ExitCode:
    """Start a Ray cluster of its own with a real DeepSpeed job on CPUs, and attach to it.

    On a terminal it stays until Ctrl-C, to be looked at with the other commands; then
    nothing of it is left. The exit code is the demo's own, not the verdict's.
    """
    options = take(given, limit_s=None)
    check(options.address, fault, workers, keep=keep, once=once)
    progress = Progress(quiet=options.quiet)
    stays = keep or (sys.stdout.isatty() and not once)

    try:
        with Show(Plan(workers=workers, zero=zero, hang=fault == "hang"), progress) as show:
            show.start()
            snapshot = show.outcome()
            progress.say(f"\n$ dsray-inspect attach {JOB} --address {show.cluster.address}\n")

            if options.as_json:
                sys.stdout.buffer.write(msgspec.json.encode(snapshot) + b"\n")
                sys.stdout.flush()
            else:
                show.print_look(color=options.color)

            if stays:
                progress.say(suggestions(show.cluster.address))
                show.keep()

            progress.say("\nStopping …")
    except KeyboardInterrupt:
        progress.say("Stopped: no process and no folder of the demo is left.")
        raise

    progress.say("Stopped: no process and no folder of the demo is left.")
    return ExitCode.OK


def check(address: str | None, fault: str | None, workers: int, *, keep: bool, once: bool) -> None:
    if address:
        raise UsageError(
            "The demo has a cluster of its own, so it takes no --address.",
            help_text=f"To look at the cluster at {address}: dsray-inspect attach --address {address}",
        )

    if fault == "hang" and workers < 2:
        raise UsageError(
            "--fault hang makes rank 1 block while others wait for it.",
            help_text="Give it --workers 2 or more.",
        )

    if keep and once:
        raise UsageError("--keep and --once contradict each other.", help_text="Give one.")


def suggestions(address: str) -> str:
    """Return what to try next, from another terminal."""
    commands = {
        "attach": "where every rank is, in one look",
        "why": "what the run waits for, and which rank is to blame",
        "stacks": "from the driver down to the collective",
        "env": "what was set for each rank, and by whom",
        "doctor": "what could be seen here, and what could not",
    }
    lines = [
        f"  dsray-inspect {name:<6} --address {address}    {what}"
        for name, what in commands.items()
    ]
    return "\n".join(["\nIn another terminal:", *lines, "\nAll stays as it is until Ctrl-C."])
