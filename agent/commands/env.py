"""`dsray-inspect env`: every rank's live environment, and who set what."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from dsray_inspect.agent.commands.attach import code_of
from dsray_inspect.agent.commands.options import common_options, take
from dsray_inspect.agent.environment import Difference, differences
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.model import EnvVar, Job, Run, Snapshot
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.env import env_text
from dsray_inspect.agent.text.style import Style


class RankEnv(msgspec.Struct, frozen=True, kw_only=True):
    """One rank's variables; `evidence` is "ok" or why there are none."""

    rank: int | None
    hostname: str
    pid: int
    env: dict[str, EnvVar]
    evidence: str


class EnvDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What `env --json` prints."""

    schema_version: int = 1
    taken_at: float
    job: Job
    run: Run | None
    drift: tuple[Difference, ...]
    expected: tuple[Difference, ...]
    ranks: tuple[RankEnv, ...]


@click.command("env", short_help="Show JOB's live environment: what differs, and who set it.")
@click.argument("job", required=False)
@click.option(
    "--all", "show_all", is_flag=True, help="Show every variable, and show values in full."
)
@common_options
def command(job: str | None, show_all: bool, **given: Any) -> ExitCode:
    """Show the live environment of JOB's ranks: what differs, and who set each variable."""
    options = take(given)

    with Session(choose_address(options.address), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        snapshot = session.snapshot(candidate, options.request(deepspeed=False))

    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.encode(document(snapshot)) + b"\n")
    else:
        text = env_text(snapshot, Style(color=options.color), show_all=show_all)
        click.echo(text, color=options.color)

    code_of(snapshot)
    return ExitCode.OK


def document(snapshot: Snapshot) -> EnvDocument:
    found = differences({w.rank: w.env for w in snapshot.workers if w.rank is not None})
    return EnvDocument(
        taken_at=snapshot.taken_at,
        job=snapshot.job,
        run=snapshot.run,
        drift=found.drift,
        expected=found.expected,
        ranks=tuple(
            RankEnv(rank=w.rank, hostname=w.hostname, pid=w.pid, env=w.env, evidence=w.evidence.env)
            for w in snapshot.workers
        ),
    )
