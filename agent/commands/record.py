"""`dsray-inspect record`: all that explains a run, in one file that can be read anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dsray_inspect.agent.commands._support.options import (
    DEFAULT_TIMEOUT_S,
    common_options,
    local_option,
    options_of,
    public_option,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.commands._support.recording import (
    DEFAULT_S,
    MOST_S,
    record,
)
from dsray_inspect.agent.documents import RecordDocument
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.incident.layout import SUFFIX


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
    type=click.FloatRange(0.0, MOST_S),
    default=DEFAULT_S,
    metavar="N",
    help="How long to take samples (default 5), at least until a verdict can be given.",
)
@public_option
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
    done = record(job, _named(output), options, seconds=seconds, public=public)
    printer.print(done.document)
    return done.exit_code


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
