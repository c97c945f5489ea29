"""`dsray-inspect ls`: which jobs with Ray Train runs a cluster has."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands.options import common_options, take
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.table import table
from dsray_inspect.agent.text.truncate import cut_end, cut_middle

HEADS = ("submission id", "job", "run", "name", "state", "ranks", "nodes", "entrypoint")


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `ls`."""

    submission_id: str | None
    job_id: str
    run_id: str | None
    run_name: str | None
    state: str
    ranks: int
    nodes: int
    entrypoint: str


@click.command("ls")
@click.option(
    "--all", "show_all", is_flag=True, help="Include jobs that have ended or have no Ray Train run."
)
@common_options
def command(show_all: bool, **given: Any) -> ExitCode:
    """List the jobs with running Ray Train runs."""
    options = take(given)

    with Session(choose_address(options.address)) as session:
        rows = [
            listed(one)
            for one in session.candidates(inject=not options.no_inject)
            if show_all or shown(one)
        ]

    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.encode({"schema_version": 1, "runs": rows}) + b"\n")
        return ExitCode.OK

    if not rows:
        click.echo(
            "No Ray Train run is active. `dsray-inspect ls --all` includes those that have ended.",
            err=True,
        )
        return ExitCode.OK

    cuts = {HEADS.index("name"): cut_middle, HEADS.index("entrypoint"): cut_end}
    click.echo(table(HEADS, [cells(row) for row in rows], cuts=cuts))
    return ExitCode.OK


def shown(candidate: Candidate) -> bool:
    return not candidate.job.is_dead and candidate.actors is not None


def listed(candidate: Candidate) -> Listed:
    workers = [row for row in candidate.actors.workers if row.alive] if candidate.actors else []
    return Listed(
        submission_id=candidate.job.submission_id,
        job_id=candidate.job.job_id,
        run_id=candidate.run_id,
        run_name=candidate.run_name,
        state=state_of(candidate),
        ranks=len(workers),
        nodes=len({row.node_id for row in workers}),
        entrypoint=candidate.job.entrypoint,
    )


def state_of(candidate: Candidate) -> str:
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


def cells(row: Listed) -> tuple[str, ...]:
    return (
        row.submission_id or "–",
        row.job_id,
        (row.run_id or "–")[:8],
        row.run_name or "–",
        row.state,
        str(row.ranks),
        str(row.nodes),
        row.entrypoint,
    )
