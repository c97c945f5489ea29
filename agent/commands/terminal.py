"""Whether `attach` opens the terminal UI, and how; Textual is loaded here and nowhere above."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click

from dsray_inspect.agent.commands.options import Options, say
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.feed import Event
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.model import Snapshot

OLDEST = (8, 2)
NEWEST = (9,)


def is_wanted(options: Options) -> bool:
    """Return whether there is a terminal to draw on, and nobody asked for data or plain text."""
    if options.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False

    return os.environ.get("TERM", "dumb") not in ("dumb", "") and is_there(options)


def is_there(options: Options) -> bool:
    """Return whether a Textual that fits is installed; says what to do about it when not."""
    if importlib.util.find_spec("textual") is None:
        say(options, "The terminal UI is not installed: pip install 'dsray-inspect[tui]'")
        return False

    found = version("textual")
    parts = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())

    if not OLDEST <= parts < NEWEST:
        say(options, f"The terminal UI needs textual>=8.2,<9, but {found} is installed.")
        return False

    return True


def show_live(job: str | None, options: Options, every_s: float) -> Snapshot | ExitCode:
    """Show a job until the user leaves; returns the last look, or how it ended without one."""
    address = choose_address(options.address)
    from_reader = reader_words(options, address)

    # The reader joins the cluster while Textual is loaded.
    from dsray_inspect.tui.source import LiveSource

    source = LiveSource(job, from_reader, every_s=every_s)
    source.start()

    try:
        prepare(options)

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
    """Show a window that was saved, until the user leaves."""
    prepare(Options())

    from dsray_inspect.tui.app import InspectApp
    from dsray_inspect.tui.source import RecordedSource

    InspectApp(RecordedSource(events), job).run()


def reader_words(options: Options, address: str) -> list[str]:
    """Return the options of this call as words for the reader."""
    words = ["--address", address]
    words += ["--no-inject"] if options.no_inject else []
    words += ["--max-pause", str(options.max_pause)] if options.max_pause is not None else []
    return words


def prepare(options: Options) -> None:
    """Let the app draw on stdout, where we know a terminal to be, and leave colours off if asked."""
    if options.no_color:
        os.environ["NO_COLOR"] = "1"

    # Where Textual draws.
    sys.__stderr__ = os.fdopen(os.dup(1), "w", encoding="utf-8")  # type: ignore[misc]
    signal.set_wakeup_fd(-1)
