"""`dsray-inspect why`: what the run waits for, and whose fault it is."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands.attach import code_of
from dsray_inspect.agent.commands.options import LIMIT_S, Options, common_options, take
from dsray_inspect.agent.detectors.evidence.collective_waits import stall_s
from dsray_inspect.agent.detectors.evidence.gil import HELD_S
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.explanation import Explanation, explain
from dsray_inspect.agent.handles import Candidate, JobHandle
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.graph import graph_text
from dsray_inspect.agent.text.style import Style
from dsray_inspect.agent.text.why import why_text

APART_S = 0.6
WATCH_S = 1.0
"""Between two looks of a watch; a look itself takes about as long."""
LEAST_REST_S = 0.3
"""Between two looks when a wait is about to become a stall: motion takes that long to be told."""
READ_S = 0.1
"""A rank reads its flight recorder that long after the look has begun, at most."""
UNSETTLED_S = 6.5
"""How long a cold look goes on to look at what may become a stall in a moment."""
UNTOLD_S = 10.0
"""Ray's job manager notices the end of a driver some seconds after the GCS."""
SUSPECT_S = 1.5
"""A wait that long is worth another look."""


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
@common_options
def command(
    job: str | None, watch: bool, save: Path | None, verbose: bool, **given: Any
) -> ExitCode:
    """Explain in at most ten lines what JOB is waiting for, which rank is to blame, and how
    certain that is.

    Takes two samples a moment apart, and keeps sampling for a few more seconds if ranks are
    waiting but have not waited long enough to be called stalled. Each sample reads the ranks'
    flight recorders, which may pause a rank for up to 20 ms.
    """
    options = take(given, limit_s=None if watch else LIMIT_S)
    ask = options.request(recorder="always", counters=True)

    with Session(choose_address(options.address), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        told = settle(session, candidate, ask)
        show(told, options, verbose=verbose)
        keep(told, save)
        suspected = is_suspicious(told.snapshot)

        while watch and not told.snapshot.job.has_ended:
            time.sleep(rest_s(told.snapshot, time.time()))
            candidate = session.refreshed(candidate)
            newer = explain((told.snapshot, look(session, candidate, ask)))

            if changed(told, newer):
                show(newer, options, verbose=verbose)
                keep(newer, save)
            elif is_suspicious(newer.snapshot) and not suspected:
                keep(newer, save)

            suspected = is_suspicious(newer.snapshot)
            told = newer

    return code_of(told.snapshot)


def settle(session: Session, candidate: Candidate, ask: SampleRequest) -> Explanation:
    """Look twice, and on while what was seen is too young to be judged."""
    looks: tuple[Snapshot, ...] = (look(session, candidate, ask),)

    if looks[0].verdict.state == "finished" or looks[0].job.has_ended:
        return explain(looks)

    until = time.monotonic() + UNSETTLED_S

    while True:
        time.sleep(APART_S)
        candidate = session.refreshed(candidate)
        looks = (looks[-1], look(session, candidate, ask))

        if time.monotonic() > until or not (is_unsettled(looks[-1]) or is_news(*looks)):
            return explain(looks)


def look(session: Session, candidate: Candidate, ask: SampleRequest) -> Snapshot:
    """Look once; at a submitted job that has just ended until Ray says how, which it does soon."""
    until = time.monotonic() + UNTOLD_S

    while True:
        snapshot = session.snapshot(candidate, ask)
        untold = snapshot.job.state == "FINISHED" and snapshot.job.submission_id is not None

        if not untold or time.monotonic() > until or ended_long_ago(candidate.job):
            return snapshot

        time.sleep(APART_S)
        candidate = session.refreshed(candidate)


def ended_long_ago(job: JobHandle) -> bool:
    return job.ended_at is not None and time.time() - job.ended_at > UNTOLD_S


def is_news(before: Snapshot, now: Snapshot) -> bool:
    """Tell whether the newest look has found what the one before it had not: look once more."""
    return bool(now.findings) and before.verdict.cause != now.verdict.cause


def is_unsettled(snapshot: Snapshot) -> bool:
    """Tell whether another look in a moment may say more."""
    if snapshot.verdict.cause == "config_drift" and not snapshot.verdict.ranks:
        return True  # an engine that no stack has shown yet decides who is the odd one

    return not snapshot.findings and snapshot.job.state == "RUNNING" and is_suspicious(snapshot)


def rest_s(snapshot: Snapshot, now: float) -> float:
    """Return how long a watch rests: the next look comes just when a wait becomes a stall, or is so
    long that a rank without an answer holds its GIL.
    """
    left = (
        snapshot.taken_at + told_s - waited.age_s - now
        for worker in snapshot.workers
        if (waited := worker.waiting_in) is not None
        for told_s in (stall_s(worker.longest_gap_s), HELD_S)
    )
    soon = min((one + READ_S for one in left if one > -WATCH_S), default=WATCH_S)
    return min(max(soon, LEAST_REST_S), WATCH_S)


def is_suspicious(snapshot: Snapshot) -> bool:
    """Tell whether ranks wait for one another for longer than they usually do."""
    if snapshot.verdict.state not in ("healthy", "unknown", "starting"):
        return True

    return any(
        (waited := worker.waiting_in) is not None
        and waited.age_s > max(SUSPECT_S, 3 * (worker.longest_gap_s or 0.0))
        for worker in snapshot.workers
    )


def changed(before: Explanation, now: Explanation) -> bool:
    one, other = before.verdict, now.verdict
    return (one.state, one.cause, one.ranks) != (other.state, other.cause, other.ranks)


def show(told: Explanation, options: Options, *, verbose: bool) -> None:
    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()
        return

    style = Style(color=options.color)
    text = why_text(told, style)
    click.echo(f"{text}\n\n{graph_text(told.graph)}" if verbose else text, color=options.color)


def keep(told: Explanation, save: Path | None) -> None:
    """Append an account to a file: when its processes are gone, it is all that is left."""
    if save is not None:
        with save.open("ab") as file:
            file.write(msgspec.json.encode(told) + b"\n")
