"""The options that every command takes, before or after its name."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.text.command_hint import CommandHint

_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])
_DEFAULT_MAX_PAUSE_MS = 100.0
DEFAULT_TIMEOUT_S = 120.0
"""Ray can wait forever for a GCS that does not answer."""
_JSON = "json"
_NAMES = (
    *("address", "as_json", "format", "no_color", "quiet"),
    *("timeout", "no_inject", "max_pause", "debug"),
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the common options."""

    address: str | None = None
    local: bool = False
    format: str | None = None
    """None leaves the format to the command."""
    no_color: bool = False
    quiet: bool = False
    timeout: float | None = None
    no_inject: bool = False
    max_pause: float | None = None
    debug: bool = False

    @property
    def color(self) -> bool:
        """Whether to color stdout: it is a terminal that can, and colors are not disabled."""
        if self.no_color or os.environ.get("NO_COLOR"):
            return False

        return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def request(self, **more: Any) -> SampleRequest:
        """Return the request for samples with the limits of this call."""
        pause_ms = _DEFAULT_MAX_PAUSE_MS if self.max_pause is None else self.max_pause
        return SampleRequest(inject=not self.no_inject, max_pause_ms=pause_ms, **more)

    def hint(self, job: str | None) -> CommandHint:
        """Return how to name JOB and its cluster in the commands that are suggested."""
        place: tuple[str, ...] = ("--local",) if self.local else ()

        if self.address:
            place = ("--address", self.address)

        return CommandHint(words=(*((job,) if job else ()), *place))

    def choose_address(self) -> str:
        """Return where the job is; see `launchers.registry`.

        Raises:
            UsageError: `--local` and `--address` contradict each other.
        """
        if self.local and self.address:
            raise _contradiction("--local", f"--address {self.address}")

        return choose_address(self.address, is_local=self.local)

    @property
    def address_source(self) -> str:
        """Where the cluster's address comes from."""
        if self.address:
            return "--address"

        return "RAY_ADDRESS" if os.environ.get("RAY_ADDRESS") else "found on this machine"

    def with_format(self, name: str, *, flag: str, is_given: bool) -> Options:
        """Return the options with the format that an older flag stands for, if it is given.

        Raises:
            UsageError: Another format is asked for as well.
        """
        if not is_given:
            return self

        if self.format not in (None, name):
            raise _contradiction(flag, f"--format {self.format}")

        return msgspec.structs.replace(self, format=name)


def common_options(command: _CommandT) -> _CommandT:
    """Add the options to a command, which gets them from `options_of`."""
    for option in reversed(
        (
            click.option(
                "--address",
                metavar="HOST:PORT",
                help="Address of the cluster's GCS. Default: RAY_ADDRESS, else the local cluster.",
            ),
            click.option(
                "--format",
                metavar="NAME",
                help="Output format: text, json, or another one that the command has.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Same as --format json."),
            click.option("--no-color", is_flag=True, help="Disable colors, as NO_COLOR does."),
            click.option("--quiet", "-q", is_flag=True, help="Only print errors to stderr."),
            click.option(
                "--timeout",
                type=click.FloatRange(min=0.1),
                metavar="S",
                help="Give up after S seconds (default 120; demo, serve and why --watch: never; "
                "mcp: on one call, after 50).",
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


def local_option(command: _CommandT) -> _CommandT:
    """Add `--local` to a command that needs nothing of Ray; `options_of` takes it."""
    return click.option(
        "--local",
        is_flag=True,
        help="Look at the ranks on this machine, whoever started them; needs no Ray.",
    )(command)


def public_option(command: _CommandT) -> _CommandT:
    """Add `--public` to a command that makes something to be shown to others."""
    return click.option(
        "--public",
        is_flag=True,
        help="Keep listed facts only, and replace hosts, users, paths and names of yours.",
    )(command)


def keep_global_options(given: dict[str, Any]) -> None:
    """Keep the options given before the command's name for `options_of`."""
    click.get_current_context().obj = {name: given[name] for name in _NAMES}


def options_of(given: dict[str, Any], *, limit_s: float | None = DEFAULT_TIMEOUT_S) -> Options:
    """Take the common options out of `given`, and add those before the command's name.

    Starts the clock of `--timeout`, whose default is `limit_s`.

    Raises:
        UsageError: `--json` and `--format` contradict each other.
    """
    context = click.get_current_context().find_root()
    before = context.obj or {}
    merged = {name: given.pop(name) or before.get(name) for name in _NAMES}
    merged["local"] = given.pop("local", None)
    as_json = merged.pop("as_json")
    options = Options(**{name: value for name, value in merged.items() if value is not None})
    options = options.with_format(_JSON, flag="--json", is_given=bool(as_json))

    signal.setitimer(signal.ITIMER_REAL, options.timeout or limit_s or 0)

    return options


def lift_default_timeout(options: Options) -> None:
    """Let a command run for as long as the user likes, unless `--timeout` is given."""
    signal.setitimer(signal.ITIMER_REAL, options.timeout or 0)


def stop_clock(options: Options, default_s: float) -> float:
    """Let a command run for as long as it likes; returns what `--timeout` allows one call of it."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    return options.timeout or default_s


def print_message(options: Options, text: str) -> None:
    """Print something that is not data to stderr, unless `--quiet` is given."""
    if not options.quiet:
        click.echo(text, err=True)


def _contradiction(one: str, other: str) -> UsageError:
    return UsageError(f"{one} and {other} contradict each other.", help_text="Give one of them.")
