"""Whether `attach` opens the terminal UI, and how. Only functions in here import Textual."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click

from dsray_inspect.agent.commands._support.options import Options, print_message
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.feed import Event
from dsray_inspect.agent.model import Snapshot

_OLDEST = (8, 2)
_NEWEST = (9,)


def wants_terminal_ui(options: Options) -> bool:
    """Return whether there is a usable terminal, and no other format is asked for."""
    if options.format is not None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False

    return os.environ.get("TERM", "dumb") not in ("dumb", "") and _is_textual_usable(options)


def _is_textual_usable(options: Options) -> bool:
    """Return whether a supported Textual is installed; print what to do if not."""
    if importlib.util.find_spec("textual") is None:
        print_message(options, "The terminal UI is not installed: pip install 'dsray-inspect[tui]'")
        return False

    found = version("textual")
    parts = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())

    if not _OLDEST <= parts < _NEWEST:
        print_message(options, f"The terminal UI needs textual>=8.2,<9, but {found} is installed.")
        return False

    return True


def show_live(job: str | None, options: Options, every_s: float) -> Snapshot | ExitCode:
    """Show a job until the user quits; return the last snapshot, or the exit code without one."""
    address = options.choose_address()
    from_reader = _reader_arguments(options, address)

    # The reader joins the cluster while Textual is imported.
    from dsray_inspect.tui.source import LiveSource

    source = LiveSource(job, from_reader, every_s=every_s)
    source.start()

    try:
        _prepare_terminal(options)

        from dsray_inspect.tui.app import InspectApp

        app = InspectApp(source, job or "the run")
        app.run()
    finally:
        source.close()

    failure = app.failure

    if failure is not None:
        click.echo(failure.text.rstrip() or "error: The reader ended.", err=True)
        return ExitCode(failure.code) if failure.code in set(ExitCode) else ExitCode.NOT_FOUND

    if app.return_code == ExitCode.INTERRUPTED or not app.view_state.window:
        return ExitCode.INTERRUPTED if app.return_code else ExitCode.OK

    return app.view_state.window[-1]


def show_recorded(events: Sequence[Event], job: str) -> None:
    """Show a recording until the user quits."""
    _prepare_terminal(Options())

    from dsray_inspect.tui.app import InspectApp
    from dsray_inspect.tui.source import RecordedSource

    InspectApp(RecordedSource(events), job).run()


def _reader_arguments(options: Options, address: str) -> list[str]:
    """Return the options of this call as arguments for the reader process."""
    arguments = ["--local"] if options.local else ["--address", address]
    arguments += ["--no-inject"] if options.no_inject else []
    arguments += ["--max-pause", str(options.max_pause)] if options.max_pause is not None else []
    return arguments


def _prepare_terminal(options: Options) -> None:
    """Let the app draw on stdout, which is known to be a terminal, without colors if asked."""
    if options.no_color:
        os.environ["NO_COLOR"] = "1"

    # Textual draws on `sys.__stderr__`.
    sys.__stderr__ = os.fdopen(os.dup(1), "w", encoding="utf-8")  # type: ignore[misc]
    signal.set_wakeup_fd(-1)
