"""`dsray-inspect report`: a recorded or live run as one page, or its flame graph as a file."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from dsray_inspect.agent.commands._support.from_file import say_what_is_missing
from dsray_inspect.agent.commands._support.new_file import reject_existing, write_new
from dsray_inspect.agent.commands._support.options import (
    DEFAULT_TIMEOUT_S,
    Options,
    common_options,
    local_option,
    options_of,
    print_message,
    public_option,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.commands._support.recording import (
    DEFAULT_S,
    MOST_S,
    Recording,
    record,
)
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.incident.layout import SUFFIX
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.replay import Replay, replay
from dsray_inspect.agent.report.build import report_of
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text.humanize import size

_HTML: Final = "html"


@click.command("report", short_help="Write a page that shows what happened to JOB or in a file.")
@click.argument("subject", required=False, metavar="[FILE|JOB]")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write, such as hang.html; it must not exist. Default: stdout.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.0, MOST_S),
    metavar="N",
    help="With JOB: how long to take samples (default 5), as `record` does.",
)
@public_option
@local_option
@common_options
def command(
    subject: str | None, output: Path | None, seconds: float | None, public: bool, **given: Any
) -> ExitCode:
    """Write one self-contained HTML page about FILE, which `record` wrote, or about JOB, which is
    recorded first: verdict, ranks over time, flame graph, stacks, waits and differences.

    The page needs no network and opens from the disk. With --format folded or speedscope, write
    its flame graph for other tools. A public FILE gives a public page.
    """
    live_s = DEFAULT_S if seconds is None else seconds
    options = options_of(given, limit_s=DEFAULT_TIMEOUT_S + live_s)
    printer = Printer(ReportDocument, options, default=_HTML)
    _check_output(output, printer.format)
    file = _file_of(subject)

    if file is not None:
        _reject_live_options(file, options, seconds)
        found = replay(file, keep=None, start=True, publisher=Publisher() if public else None)
        say_what_is_missing(file, found, options)
        _write(found, output, printer, options)
        return ExitCode.OK

    recording, found = _recorded(subject, options, seconds=live_s, public=public)
    _write(found, output, printer, options)
    return recording.exit_code


def _file_of(subject: str | None) -> Path | None:
    """Return the file that is meant, if it is one and not a job."""
    if subject is None:
        return None

    path = Path(subject)
    return path if path.suffix == SUFFIX or path.is_file() else None


def _check_output(output: Path | None, format_name: str) -> None:
    """Reject what could not be written once all is read.

    Raises:
        UsageError: It exists, its folder does not, or a page would go to a terminal.
    """
    if output is not None:
        reject_existing(output)
    elif format_name == _HTML and sys.stdout.isatty():
        raise UsageError(
            "A page needs a file to be written to.",
            help_text="Add -o report.html, or another --format.",
        )


def _reject_live_options(file: Path, options: Options, seconds: float | None) -> None:
    """Reject options that say where a live job is, or how to look at it.

    Raises:
        UsageError: One of them is given.
    """
    given = {
        "--seconds": seconds is not None,
        "--local": options.local,
        "--address": options.address is not None,
    }

    for flag, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{flag} is for a live job, and {file} is a file.",
                help_text=f"Leave out {flag}, or name a job.",
            )


def _recorded(
    job: str | None, options: Options, *, seconds: float, public: bool
) -> tuple[Recording, Replay]:
    """Record a live job into a file of its own, which is deleted once it is read."""
    with tempfile.TemporaryDirectory(prefix="dsray-inspect-") as folder:
        path = Path(folder) / f"job{SUFFIX}"
        recording = record(job, path, options, seconds=seconds, public=public)
        return recording, replay(path, keep=None, start=True)


def _write(
    found: Replay, output: Path | None, printer: Printer[ReportDocument], options: Options
) -> None:
    report = report_of(found)

    if output is None:
        printer.print(report)
        return

    content = printer.rendered(report)
    write_new(output, content)
    verdict = report.explanation.verdict
    print_message(options, f"{verdict.state.upper()}: {verdict.summary}")
    print_message(options, f"{output}: {size(len(content))}; {_USE.get(printer.format, '')}")


_USE: Final = {
    _HTML: "open it in a browser",
    "folded": "flamegraph.pl and inferno read it",
    "speedscope": "open it at https://www.speedscope.app",
    "json": "its keys are described in docs/commands/report.md",
}
