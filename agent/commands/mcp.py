"""`dsray-inspect mcp`: answers an agent's questions about jobs, over the Model Context Protocol."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from dsray_inspect.agent.commands._support.options import (
    Options,
    common_options,
    local_option,
    options_of,
    print_message,
    stop_clock,
)
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.mcp.incident_files import IncidentFiles

EVERY_S: Final = 5.0
CALL_S: Final = 50.0
"""Many clients give up after 60 s, and would not learn why."""


@click.command("mcp", short_help="Let an agent ask about jobs and incident files (MCP, stdio).")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option(
    "--incidents",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Let the agent open the incident files below DIR (repeatable).",
)
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=1.0),
    default=EVERY_S,
    show_default=True,
    metavar="S",
    help="Least seconds between two readings of live jobs.",
)
@click.option(
    "--locals",
    "allows_locals",
    is_flag=True,
    help="Let the agent read local variables, which pauses the ranks it names.",
)
@click.option("--answer", "number", type=int, hidden=True, help="Answer calls on stdin.")
@local_option
@common_options
def command(
    files: tuple[Path, ...],
    folders: tuple[Path, ...],
    every_s: float,
    allows_locals: bool,
    number: int | None,
    **given: Any,
) -> ExitCode:
    """Answer an agent's questions about live jobs and incident files, over the Model Context
    Protocol on stdin and stdout. An MCP client starts this command; its tools only read.

    FILEs are incident files that the agent may open, beside those below --incidents.
    """
    options = options_of(given, limit_s=None)
    limit_s = stop_clock(options, CALL_S)

    if options.format is not None:
        raise UsageError(
            "mcp speaks the Model Context Protocol and has no other format.",
            help_text="Leave out --json and --format.",
        )

    allowed = IncidentFiles(files, folders)

    if number is not None:
        _answer(number, allowed, options, every_s=every_s, allows_locals=allows_locals)

    words = [*(f"--incidents={folder}" for folder in folders), *_cluster_words(options)]
    words += ["--every", str(every_s), *(["--locals"] if allows_locals else [])]
    words += ["--", *map(str, files)]
    return _serve(words, options, limit_s=limit_s, every_s=every_s)


def _serve(words: list[str], options: Options, *, limit_s: float, every_s: float) -> ExitCode:
    try:
        from dsray_inspect.agent.mcp.answerer import Answerer
        from dsray_inspect.agent.mcp.server import serve
    except ImportError as error:
        raise _missing(error) from error

    if sys.stdin.isatty():
        print_message(options, "This is for MCP clients, which start it; press Ctrl-D to end.")

    with Answerer("mcp", words, limit_s=limit_s, restart_s=every_s) as answerer:
        serve(answerer)

    return ExitCode.OK


def _missing(error: ImportError) -> UsageError:
    try:
        found = version("mcp")
    except PackageNotFoundError:
        return UsageError(
            "mcp needs the package mcp, which is not installed.",
            help_text="pip install 'dsray-inspect[mcp]'",
        )

    return UsageError(
        f"mcp needs the package mcp 2.0 or newer, and cannot use {found}: {error}.",
        help_text="pip install --upgrade 'dsray-inspect[mcp]'",
    )


def _cluster_words(options: Options) -> list[str]:
    """Return the options of this call that select the cluster and limit what is read of it."""
    words = ["--local"] if options.local else []
    words += ["--address", options.address] if options.address else []
    words += ["--no-inject"] if options.no_inject else []
    return words + (
        ["--max-pause", str(options.max_pause)] if options.max_pause is not None else []
    )


def _answer(
    number: int, files: IncidentFiles, options: Options, *, every_s: float, allows_locals: bool
) -> NoReturn:
    """Answer the calls of the server that started this process."""
    from dsray_inspect.agent.mcp.answering import answer_calls
    from dsray_inspect.agent.mcp.live import LiveJobs
    from dsray_inspect.agent.mcp.toolbox import Toolbox
    from dsray_inspect.agent.session import Session

    live = LiveJobs(
        lambda: Session(options.choose_address(), options.hint(None)),
        options.request(recorder="always", counters=True, start=True),
        prefix=f"s{number}",
        every_s=every_s,
    )

    try:
        answer_calls(Toolbox(live, files, allows_locals=allows_locals))
    finally:
        live.close()
