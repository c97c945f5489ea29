"""`dsray-inspect record`: all that explains a run, in one file that can be read anywhere."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.options import (
    DEFAULT_TIMEOUT_S,
    common_options,
    local_option,
    options_of,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.documents import RecordDocument
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.incident.layout import SUFFIX, Header
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.recorder import Recorder
from dsray_inspect.agent.incident.stream import RecordingStream
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.session import Session

_DEFAULT_S: Final = 5.0
_MOST_S: Final = 3600.0


@click.command("record", short_help="Record JOB's state in one file that explains it anywhere.")
@click.argument("job", required=False)
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write, such as hang.dsray; it must not exist.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.0, _MOST_S),
    default=_DEFAULT_S,
    metavar="N",
    help="How long to take samples (default 5), at least until a verdict can be given.",
)
@click.option(
    "--public",
    is_flag=True,
    help="Keep listed facts only, and replace hosts, users, paths and names of yours.",
)
@local_option
@common_options
def command(job: str | None, output: Path, seconds: float, public: bool, **given: Any) -> ExitCode:
    """Record JOB in one file: samples over some seconds, with stacks, flight recorders,
    environment, DeepSpeed config, nodes and GPUs, the ends of the logs, and the verdict.

    `attach`, `why`, `stacks`, `env`, `trace` and `doctor` show such a file with --from FILE, on any
    machine and after the job is gone; the verdict is judged again from what was recorded. With --public the
    file can be attached to a public issue.
    """
    options = options_of(given, limit_s=DEFAULT_TIMEOUT_S + seconds)
    printer = Printer(RecordDocument, options)
    path = _named(output)
    request = options.request(recorder="always", counters=True, start=True)
    tool, began_at = version("dsray-inspect"), time.time()
    publisher = Publisher() if public else None
    hint = options.hint(job)
    words = hint.words if publisher is None else publisher.hint
    header = Header(tool=tool, began_at=began_at, public=public, hint=words)

    # The file first: whether it can be written is known before the cluster is asked.
    with IncidentWriter(path, header) as writer, Session(options.choose_address(), hint) as session:
        candidate = session.find(job, inject=not options.no_inject)
        stream = RecordingStream(session, writer, publisher)
        recorder = Recorder(session, stream, writer, request)
        candidate = recorder.take_samples(candidate, seconds)
        recorder.add_the_rest(candidate, found_by=options.address_source)
        done = recorder.finish(path, tool=tool, began_at=began_at)

    printer.print(done)

    if stream.live is not None:
        exit_code_of(stream.live)  # Raises if nothing could be read.

    return recorder.exit_code


def _named(path: Path) -> Path:
    """Return the path with its suffix.

    Raises:
        UsageError: It has another one.
    """
    if path.suffix == "":
        return path.with_name(path.name + SUFFIX)

    if path.suffix != SUFFIX:
        raise UsageError(
            f"An incident file is called something{SUFFIX}, not {path.name}.",
            help_text=f"-o {path.stem}{SUFFIX}",
        )

    return path
