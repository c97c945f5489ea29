"""`dsray-inspect why`: what the run waits for, and which rank is to blame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.from_file import (
    from_option,
    open_incident,
    reject_with_file,
)
from dsray_inspect.agent.commands._support.options import (
    DEFAULT_TIMEOUT_S,
    common_options,
    local_option,
    options_of,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.documents import ExplanationView
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.settling import is_suspicious, rest_s, sample, settle


@click.command("why", short_help="Explain what JOB is waiting for, and which rank is to blame.")
@click.argument("job", required=False)
@click.option("--watch", is_flag=True, help="Keep sampling; print the verdict whenever it changes.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Append each printed explanation, and the first suspicious sample, to FILE as JSON Lines.",
)
@click.option(
    "--verbose", "-v", is_flag=True, help="Also draw the wait-for graph, with its evidence."
)
@from_option
@local_option
@common_options
def command(
    job: str | None,
    watch: bool,
    save: Path | None,
    verbose: bool,
    file: Path | None,
    **given: Any,
) -> ExitCode:
    """Explain in at most ten lines what JOB is waiting for, which rank is to blame, and how
    certain that is.

    Takes two samples a moment apart, and keeps sampling for a few more seconds if ranks are
    waiting but have not waited long enough to be called stalled. Each sample reads the ranks'
    flight recorders, which may pause a rank for up to 20 ms.
    """
    options = options_of(given, limit_s=None if watch else DEFAULT_TIMEOUT_S)
    printer = Printer(ExplanationView, options)
    request = options.request(recorder="always", counters=True)

    def show(explanation: Explanation) -> None:
        printer.print(ExplanationView(explanation=explanation, with_graph=verbose))
        _append(explanation, save)

    if file is not None:
        reject_with_file(file, watch=watch)
        recorded = open_incident(file, job, options).explanation()
        show(recorded)
        return exit_code_of(recorded.snapshot)

    with Session(options.choose_address(), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        current = settle(session, candidate, request)
        show(current)

        for before, newer in _watched(session, candidate, request, current) if watch else ():
            if before.verdict.differs_from(newer.verdict):
                show(newer)
            elif is_suspicious(newer.snapshot) and not is_suspicious(before.snapshot):
                _append(newer, save)

            current = newer

    return exit_code_of(current.snapshot)


def _watched(
    session: Session, candidate: Candidate, request: SampleRequest, current: Explanation
) -> Iterator[tuple[Explanation, Explanation]]:
    """Yield each explanation with the one before it, until the job ends."""
    while not current.snapshot.job.has_ended:
        time.sleep(rest_s(current.snapshot, time.time()))
        candidate = session.refreshed(candidate)
        before = current
        current = explain((before.snapshot, sample(session, candidate, request)))
        yield before, current


def _append(explanation: Explanation, path: Path | None) -> None:
    """Append an explanation to the file: once the job's processes are gone, it is all that is left."""
    if path is not None:
        with path.open("ab") as file:
            file.write(msgspec.json.encode(explanation) + b"\n")
