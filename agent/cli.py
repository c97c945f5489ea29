"""The command line: parses, runs a command, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
import traceback
from typing import Any

import click

from dsray_inspect.agent.commands._support.options import common_options, keep_global_options
from dsray_inspect.agent.errors import ExitCode, InspectError, UsageError
from dsray_inspect.agent.interrupts import LimitPassed, ShutdownGuard, timed_out

COMMANDS = (
    *("ls", "attach", "why", "stacks", "env", "trace", "record", "report", "diff", "serve"),
    *("launch", "submit", "dashboards", "mcp", "doctor", "demo"),
)
_HELP = """Show where every rank of a running Ray Train and DeepSpeed job is, what was set for it, and
what it waits for. Nothing has to be enabled in the job.

\b
Exit codes: 0 fine or healthy, 1 findings, 2 usage, 3 no such job or cluster,
4 permission, 5 timed out, 6 unsupported version, 130 interrupted."""


class Commands(click.Group):
    """Imports a command only when it is used, so that `--help` does not import Ray."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None

        module = importlib.import_module(f"dsray_inspect.agent.commands.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]}.{hint}", ctx=ctx)

        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Handle a closed pipe here: click would exit with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error


class ReaderGone(Exception):
    """Raised when the reader of stdout has closed the pipe."""


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=_HELP,
)
@click.version_option(package_name="dsray-inspect", prog_name="dsray-inspect")
@common_options
def group(**given: Any) -> None:
    keep_global_options(given)


def main() -> None:
    """Run the command line and exit."""
    _open_streams()
    guard = ShutdownGuard()
    guard.start()
    code = ExitCode.OK

    try:
        code = _run()
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        code = ExitCode.INTERRUPTED
    except LimitPassed:
        code = _report(timed_out())
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()

        code = _report_any(error)

    guard.settle(code)
    sys.exit(int(code))


def _run() -> ExitCode:
    result = group.main(standalone_mode=False, prog_name="dsray-inspect")
    return ExitCode(result) if isinstance(result, int) else ExitCode.OK


def _open_streams() -> None:
    """Reopen streams that the shell closed (`>&-`): Ray's sockets would take their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _report_any(error: Exception) -> ExitCode:
    """Print one sentence about an error and return the exit code."""
    if isinstance(error, ReaderGone | BrokenPipeError):
        _drop_stdout()
        return ExitCode.OK

    if isinstance(error, InspectError):
        return _report(error)

    if isinstance(error, click.ClickException):
        return _report(_usage_error(error))

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        _drop_stdout()
        return _report(UsageError(f"The output cannot be written: {error.strerror}."))

    click.echo(f"error: {type(error).__name__}: {error}", err=True)
    click.echo(
        "  This is a bug in dsray-inspect. Run the command again with --debug and report the output.",
        err=True,
    )
    return ExitCode.NOT_FOUND


def _drop_stdout() -> None:
    """Discard unwritten output: Python flushes at exit and would print an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_error(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "dsray-inspect"
    return UsageError(
        error.format_message(), help_text=f"Run {path} --help to see what is available."
    )


def _report(error: InspectError) -> ExitCode:
    click.echo(f"error: {error}", err=True)

    if error.help_text:
        click.echo(f"  {error.help_text}", err=True)

    return error.exit_code
