"""`--from FILE`: a command on an incident file instead of a live job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dsray_inspect.agent.commands._support.options import Options, print_message
from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.incident.replay import Replay, replay

_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])


def from_option(command: _CommandT) -> _CommandT:
    """Add `--from` to a command, which gets it as `file`."""
    return click.option(
        "--from",
        "file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Show what `record` wrote to FILE instead of a live job.",
    )(command)


def open_incident(
    file: Path,
    job: str | None,
    options: Options,
    *,
    keep: int | None = 2,
    all_threads: bool = False,
    start: bool = False,
) -> Replay:
    """Return what a file holds, judged again; says on stderr what of it cannot be read.

    Raises:
        UsageError: It cannot be read, or a live job is asked for as well.
    """
    live = job or ("--local" if options.local else None) or options.address

    if live is not None:
        raise UsageError(
            f"{live} is live and --from {file} is not: give one of them.",
            help_text=f"Leave out {live}, or --from.",
        )

    found = replay(file, keep=keep, all_threads=all_threads, start=start)
    say_what_is_missing(file, found, options)
    return found


def say_what_is_missing(file: Path, found: Replay, options: Options) -> None:
    """Say on stderr what of a file cannot be read."""
    if found.damage is not None:
        how = found.damage.how
        print_message(options, f"{file} is {how}; this is what could be read of it.")

    if found.unknown:
        names = ", ".join(found.unknown)
        print_message(options, f"{file} has parts that this dsray-inspect does not know: {names}.")


def reject_with_file(file: Path, **given: bool) -> None:
    """Reject options that need the live job.

    Raises:
        UsageError: One of them is given.
    """
    for name, is_given in given.items():
        if is_given:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} needs the live job: {file} does not have that.",
                help_text=f"Leave out {flag}, or --from.",
            )
