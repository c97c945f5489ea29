"""The options that every command takes, before or after its name."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.text.command_hint import CommandHint

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_MAX_PAUSE_MS = 100.0
LIMIT_S = 120.0
"""After which a command gives up when nobody said; a silent GCS can keep Ray without end."""
NAMES = ("address", "as_json", "no_color", "quiet", "timeout", "no_inject", "max_pause", "debug")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line, for all commands alike."""

    address: str | None = None
    as_json: bool = False
    no_color: bool = False
    quiet: bool = False
    timeout: float | None = None
    no_inject: bool = False
    max_pause: float | None = None
    debug: bool = False

    @property
    def color(self) -> bool:
        """Whether to colour stdout: a terminal that can, and nobody who said no."""
        if self.no_color or os.environ.get("NO_COLOR"):
            return False

        return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def request(self, **more: Any) -> SampleRequest:
        """Return what to sample, within the limits of the options."""
        pause_ms = DEFAULT_MAX_PAUSE_MS if self.max_pause is None else self.max_pause
        return SampleRequest(inject=not self.no_inject, max_pause_ms=pause_ms, **more)

    def hint(self, job: str | None) -> CommandHint:
        """Return how to name JOB and its cluster in the commands that are suggested."""
        address = ("--address", self.address) if self.address else ()
        return CommandHint(words=(*((job,) if job else ()), *address))


def common_options(command: F) -> F:
    """Add the options; `Options` of the call are had from `take`."""
    for option in reversed(
        (
            click.option(
                "--address",
                metavar="HOST:PORT",
                help="Address of the cluster's GCS. Default: RAY_ADDRESS, else the local cluster.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Print JSON."),
            click.option("--no-color", is_flag=True, help="Disable colors, as NO_COLOR does."),
            click.option("--quiet", "-q", is_flag=True, help="Only print errors to stderr."),
            click.option(
                "--timeout",
                type=click.FloatRange(min=0.1),
                metavar="S",
                help="Give up after S seconds (default 120; demo, serve and why --watch: never).",
            ),
            click.option(
                "--no-inject",
                is_flag=True,
                help="Run no code inside the job's processes; only read them from outside.",
            ),
            click.option(
                "--max-pause",
                type=click.FloatRange(min=0),
                metavar="MS",
                help="Maximum estimated pause per rank, in milliseconds (default 100).",
            ),
            click.option("--debug", is_flag=True, help="Print a traceback on errors."),
        )
    ):
        command = option(command)

    return command


def remember(given: dict[str, Any]) -> None:
    """Keep the options that stood before the command's name."""
    click.get_current_context().obj = {name: given[name] for name in NAMES}


def take(given: dict[str, Any], *, limit_s: float | None = LIMIT_S) -> Options:
    """Return the options of this call, those before the command's name included.

    Starts the clock of `--timeout`, whose default is `limit_s`.
    """
    context = click.get_current_context().find_root()
    before = context.obj or {}
    merged = {name: given.pop(name) or before.get(name) for name in NAMES}
    options = Options(**{name: value for name, value in merged.items() if value is not None})

    signal.setitimer(signal.ITIMER_REAL, options.timeout or limit_s or 0)

    return options


def without_limit(options: Options) -> None:
    """Let a command go on for as long as the user likes, unless `--timeout` says otherwise."""
    signal.setitimer(signal.ITIMER_REAL, options.timeout or 0)


def say(options: Options, text: str) -> None:
    """Tell the user something that is not data."""
    if not options.quiet:
        click.echo(text, err=True)
