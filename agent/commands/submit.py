"""`dsray-inspect submit`: `ray job submit`, with the start recorded from its first instruction."""

from __future__ import annotations

import sys

import click

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.launchers.registry import submit

_HELP_TEXT = "dsray-inspect submit [options of ray job submit] -- python train.py"


class _PassThrough(click.Command):
    """Leaves its arguments unparsed, `--` included: they are for `ray job submit`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in ctx.help_option_names:
            return super().parse_args(ctx, args)

        ctx.params["arguments"] = tuple(args)
        return []

    def collect_usage_pieces(self, _ctx: click.Context) -> list[str]:
        return ["[OPTIONS of ray job submit]", "--", "COMMAND…"]


@click.command("submit", cls=_PassThrough, short_help="Submit a job, and record its startup.")
@click.pass_context
def command(context: click.Context, arguments: tuple[str, ...]) -> int:
    """Submit a job with `ray job submit`, and record its startup.

    Takes the options of `ray job submit`; the job's command goes after `--`. One small module is
    added to the job's `py_modules`; its code and its runtime environment are not changed
    otherwise. `attach` then shows the startup, with every phase of `deepspeed.initialize`.
    """
    options, entrypoint = split(arguments)
    sys.stdout.flush()
    context.exit(submit(options, entrypoint))


def split(arguments: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the options, and the command after `--`.

    Raises:
        UsageError: There is no command, or no `--` before it.
    """
    if "--" not in arguments:
        raise UsageError("The job's command must come after `--`.", help_text=_HELP_TEXT)

    place = arguments.index("--")
    options, entrypoint = list(arguments[:place]), list(arguments[place + 1 :])

    if not entrypoint:
        raise UsageError("There is no command after `--`.", help_text=_HELP_TEXT)

    return options, entrypoint
