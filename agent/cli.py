"""The command line: parse, call, and turn every error into one sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click

from dsray_inspect.agent.commands.options import common_options, remember
from dsray_inspect.agent.errors import ExitCode, InspectError, TimedOut

COMMANDS = ("ls", "attach", "stacks", "env", "doctor", "demo")


class Commands(click.Group):
    """Imports a command when it is asked for, so that `--help` needs no Ray."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None

        module = importlib.import_module(f"dsray_inspect.agent.commands.{name}")
        command: click.Command = module.command
        return command


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 fine or healthy, 1 findings, 2 usage, 3 no such job or cluster, "
    "4 permission, 5 timed out, 6 unsupported version, 130 interrupted.",
)
@click.version_option(package_name="dsray-inspect", prog_name="dsray-inspect")
@common_options
def group(**given: Any) -> None:
    """See where every rank of a running Ray Train + DeepSpeed job is, what was set for it, and
    the stack it is in. The job needs nothing enabled.
    """
    remember(given)


def main() -> None:
    """Run the command line and exit."""
    debug = "--debug" in sys.argv
    code = ExitCode.OK

    try:
        code = run()
        sys.stdout.flush()
    except InspectError as error:
        if debug:
            raise

        code = report(error)
    except (KeyboardInterrupt, click.Abort):
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone; Python's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except click.ClickException as error:
        error.show()
        code = ExitCode(error.exit_code)
    except Exception as error:
        if debug:
            raise

        click.echo(f"error: {type(error).__name__}: {error}", err=True)
        click.echo(
            "  This is a bug of dsray-inspect. Run it again with --debug and report it.", err=True
        )
        code = ExitCode.TIMEOUT if isinstance(error, TimeoutError) else ExitCode.NOT_FOUND

    sys.exit(int(code))


def run() -> ExitCode:
    signal.signal(signal.SIGTERM, on_terminate)
    signal.signal(signal.SIGALRM, on_alarm)
    result = group.main(standalone_mode=False, prog_name="dsray-inspect")
    return ExitCode(result) if isinstance(result, int) else ExitCode.OK


def on_terminate(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def on_alarm(_number: int, _frame: object) -> None:
    raise TimedOut(
        "The time limit of --timeout has passed.",
        help_text="Give it more time, or see with `dsray-inspect doctor` what does not answer.",
    )


def report(error: InspectError) -> ExitCode:
    click.echo(f"error: {error}", err=True)

    if error.help_text:
        click.echo(f"  {error.help_text}", err=True)

    return error.exit_code
