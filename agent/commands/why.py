"""`dsray-inspect why`: what the run waits for, and whose fault it is."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
import msgspec

from dsray_inspect.agent.cluster.connect import choose_address
from dsray_inspect.agent.cluster.resolve import Candidate
from dsray_inspect.agent.commands.attach import code_of
from dsray_inspect.agent.commands.options import Options, common_options, take
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.explanation import SETTLED, Explanation, explain
from dsray_inspect.agent.gather.answers import Ask
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.style import Style
from dsray_inspect.agent.text.why import why_text

APART_S = 0.6
WATCH_S = 2.0


@click.command("why", short_help="Say what JOB waits for, and which rank is to blame.")
@click.argument("job", required=False)
@click.option("--watch", is_flag=True, help="Keep looking; print the verdict when it changes.")
@common_options
def command(job: str | None, watch: bool, **given: Any) -> ExitCode:
    """Say in at most ten lines what JOB waits for, which rank is to blame, and how sure that is.

    Looks twice, a moment apart. Each rank reads its flight recorder, which may stop it for up
    to 20 ms.
    """
    options = take(given)
    ask = options.ask(job, recorder="always", counters=True)

    with Session(choose_address(options.address)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        told = look_twice(session, candidate, ask)
        show(told, options)

        while watch and not told.snapshot.job.has_ended:
            time.sleep(WATCH_S)
            candidate = session.refreshed(candidate)
            newer = look_twice(session, candidate, ask)

            if changed(told, newer):
                show(newer, options)

            told = newer

    return code_of(told.snapshot)


def look_twice(session: Session, candidate: Candidate, ask: Ask) -> Explanation:
    first = session.snapshot(candidate, ask)

    if first.verdict.state in SETTLED or first.job.has_ended:
        return explain((first,))

    time.sleep(APART_S)
    return explain((first, session.snapshot(candidate, ask)))


def changed(before: Explanation, now: Explanation) -> bool:
    one, other = before.verdict, now.verdict
    return (one.state, one.cause, one.ranks) != (other.state, other.cause, other.ranks)


def show(told: Explanation, options: Options) -> None:
    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()
    else:
        click.echo(why_text(told, Style(color=options.color)), color=options.color)
