"""The life of `serve`: listen, find the run, look at it, tell what changed, and end in order."""

from __future__ import annotations

import sys
import time
from typing import Final

import click
import msgspec

from dsray_inspect.agent.cluster.connect import choose_address
from dsray_inspect.agent.commands.attach import code_of
from dsray_inspect.agent.commands.options import Options, say
from dsray_inspect.agent.errors import ClusterUnreachable, ExitCode
from dsray_inspect.agent.feed import Ended, Seen
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.style import Style
from dsray_inspect.agent.text.watch import change, is_news, verdict_line
from dsray_inspect.exporters import discovery, listen
from dsray_inspect.exporters.board import Board
from dsray_inspect.exporters.endpoint import Endpoint
from dsray_inspect.exporters.prometheus import Collector, registry
from dsray_inspect.exporters.watching import Waiting, Watching

LINGER_S: Final = 60.0
"""For so long the last state of a job that has ended waits to be scraped."""
RETRY_S: Final = 5.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `serve` was asked for."""

    job: str | None
    listen: str
    token_file: str | None
    sd_file: str | None
    every_s: float
    wait: bool


def serve(plan: Plan, options: Options) -> ExitCode:
    """Serve until the job ends, or, with `wait`, until somebody ends us."""
    where = listen.parse(plan.listen)
    token = listen.token_of(plan.token_file, where)
    board = Board()
    teller = Teller(options)
    address = cluster_address(plan, teller)

    with (
        Endpoint(where, registry(Collector(board)), token=token, towards=address) as endpoint,
        discovery.written(plan.sd_file, endpoint.target),
        connected(address, plan, teller, endpoint) as session,
    ):
        say(options, f"Metrics are at http://{endpoint.target}/metrics; Ctrl-C ends.")
        ask = options.ask(plan.job)
        watching = Watching(session, plan.job, ask, every_s=plan.every_s, wait=plan.wait)
        last = follow(watching, board, endpoint, teller)

    return code_of(last) if last is not None else ExitCode.OK


def cluster_address(plan: Plan, teller: Teller) -> str:
    """Return the cluster's address; with `wait` a cluster of this machine may come later."""
    while True:
        try:
            return choose_address(teller.options.address)
        except ClusterUnreachable as error:
            if not plan.wait:
                raise

            teller.cannot(str(error))
            time.sleep(RETRY_S)


def connected(address: str, plan: Plan, teller: Teller, endpoint: Endpoint) -> Session:
    """Return a session; with `wait` the cluster may come later."""
    while True:
        endpoint.pulse.beat()

        try:
            return Session(address)
        except ClusterUnreachable as error:
            if not plan.wait:
                raise

            teller.cannot(str(error))
            time.sleep(RETRY_S)


def follow(watching: Watching, board: Board, endpoint: Endpoint, teller: Teller) -> Snapshot | None:
    """Put every look up; returns the last one when there is nothing more to come."""
    last = None

    for event in watching:
        endpoint.pulse.beat()

        if isinstance(event, Seen):
            last = event.snapshot
            board.seen(last)
            teller.seen(last)
        elif isinstance(event, Waiting):
            board.clear()
            teller.cannot(event.why)
        elif isinstance(event, Ended):
            linger(endpoint, teller)
        else:
            board.failed()
            teller.cannot(f"Nothing can be seen: {event.why}")

    return last


def linger(endpoint: Endpoint, teller: Teller) -> None:
    """Let whoever scrapes us see how the job ended, if anybody does."""
    scrapes, deadline = endpoint.scrapes, time.monotonic() + LINGER_S

    if scrapes:
        say(
            teller.options,
            f"The job has ended; staying for one more scrape, at most {LINGER_S:.0f} s.",
        )

    while scrapes and endpoint.scrapes == scrapes and time.monotonic() < deadline:
        time.sleep(0.1)


class Teller:
    """Says on stdout what the verdict is when it changes, on stderr what is in the way."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._style = Style(color=options.color)
        self._told: Snapshot | None = None
        self._in_the_way = ""

    def seen(self, snapshot: Snapshot) -> None:
        self._in_the_way = ""

        if not is_news(self._told, snapshot):
            return

        self._told = snapshot

        if self.options.as_json:
            sys.stdout.buffer.write(msgspec.json.encode(change(snapshot)) + b"\n")
        else:
            click.echo(verdict_line(snapshot, self._style), color=self.options.color)

        sys.stdout.flush()

    def cannot(self, why: str) -> None:
        if why != self._in_the_way:
            say(self.options, why)

        self._in_the_way = why
