"""`dsray-inspect ls`: which jobs with Ray Train runs a cluster has."""

from __future__ import annotations

from typing import Any

import click

from dsray_inspect.agent.commands._support.options import (
    common_options,
    local_option,
    options_of,
    print_message,
)
from dsray_inspect.agent.commands._support.output import TEXT, Printer
from dsray_inspect.agent.documents import RunList, RunRow
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.session import Session


@click.command("ls")
@click.option(
    "--all",
    "show_all",
    is_flag=True,
    help="Include jobs that have ended or have no training run.",
)
@local_option
@common_options
def command(show_all: bool, **given: Any) -> ExitCode:
    """List the jobs with running Ray Train runs."""
    options = options_of(given)
    printer = Printer(RunList, options)

    with Session(options.choose_address()) as session:
        candidates = session.candidates(inject=not options.no_inject)

    runs = tuple(
        _row_of(candidate) for candidate in candidates if show_all or _is_running(candidate)
    )

    if runs or printer.format != TEXT:
        printer.print(RunList(runs=runs))
    else:
        print_message(
            options,
            "No training run is active. `dsray-inspect ls --all` includes those that have ended.",
        )

    return ExitCode.OK


def _is_running(candidate: Candidate) -> bool:
    return not candidate.job.is_dead and candidate.actors is not None


def _row_of(candidate: Candidate) -> RunRow:
    actors = candidate.actors.workers if candidate.actors else ()
    workers = [actor for actor in actors if actor.alive]
    return RunRow(
        submission_id=candidate.job.submission_id,
        job_id=candidate.job.job_id,
        run_id=candidate.run_id,
        run_name=candidate.run_name,
        number=candidate.number if candidate.siblings else None,
        state=_state_of(candidate),
        ranks=len(workers),
        nodes=len({worker.node_id for worker in workers}),
        entrypoint=candidate.job.entrypoint,
    )


def _state_of(candidate: Candidate) -> str:
    if candidate.state:
        return candidate.state

    if candidate.job.is_dead:
        return "ENDED"

    if candidate.actors is None:
        return "NO RUN"

    if not candidate.actors.alive:
        return "ENDED"

    controller = candidate.actors.controller
    return "STARTING" if controller is not None and controller.starting else "NO ANSWER"
