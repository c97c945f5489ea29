"""The life of `serve`: listen, find the run, look at it, tell what changed, and end in order."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Final

import click
import msgspec

from dsray_inspect.agent.commands.attach import code_of
from dsray_inspect.agent.commands.options import Options, say
from dsray_inspect.agent.errors import ClusterUnreachable, ExitCode
from dsray_inspect.agent.feed import Ended, SampleFailed, SampleTaken
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.style import Style
from dsray_inspect.agent.text.verdict_change import change, is_news, verdict_line
from dsray_inspect.exporters import bind, discovery
from dsray_inspect.exporters.endpoint import SILENT_S, Endpoint
from dsray_inspect.exporters.latest_sample import LatestSample
from dsray_inspect.exporters.otlp import Otlp, is_wanted
from dsray_inspect.exporters.prometheus import Collector, registry
from dsray_inspect.exporters.run_watcher import RunWatcher, Waiting
from dsray_inspect.exporters.span_pusher import SpanPusher

LINGER_S: Final = 60.0
"""For so long the last state of a job that has ended waits to be scraped."""
RETRY_S: Final = 5.0
LATE: Final = 3.0
"""Looks may come so many times later than they should before /healthz complains."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `serve` was asked for."""

    job: str | None
    listen: str
    token_file: str | None
    sd_file: str | None
    every_s: float
    otlp: bool
    wait: bool


def serve(plan: Plan, options: Options) -> ExitCode:
    """Serve until the job ends, or, with `wait`, until somebody ends us."""
    where = bind.parse(plan.listen)
    token = bind.token_of(plan.token_file, where)
    board = LatestSample()
    teller = VerdictPrinter(options)
    address = cluster_address(plan, teller)
    ask = options.request(start=True)

    # The session ends last: who is told to end has little time, and Ray may take it all.
    with contextlib.ExitStack() as connection, contextlib.ExitStack() as stack:
        otlp = stack.enter_context(Otlp()) if plan.otlp or is_wanted() else None
        collector = Collector(board, otlp.metric_samples) if otlp else Collector(board)
        listening = Endpoint(
            where,
            registry(collector),
            token=token,
            towards=address,
            silent_s=max(SILENT_S, LATE * plan.every_s),
        )
        endpoint = stack.enter_context(listening)
        stack.enter_context(discovery.published_file(plan.sd_file, endpoint.target))
        session = connection.enter_context(connected(address, plan, teller, endpoint))
        pushing = SpanPusher(session, otlp, ask) if otlp and ask.inject else None

        if otlp and not ask.inject:
            say(
                options,
                "No spans are sent: they are recorded inside the ranks, which --no-inject forbids.",
            )

        watching = RunWatcher(session, plan.job, ask, every_s=plan.every_s, wait=plan.wait)
        last = Serving(board, endpoint, teller, pushing).follow(watching)

    return code_of(last) if last is not None else ExitCode.OK


def cluster_address(plan: Plan, teller: VerdictPrinter) -> str:
    """Return the cluster's address; with `wait` a cluster of this machine may come later."""
    while True:
        try:
            return choose_address(teller.options.address)
        except ClusterUnreachable as error:
            if not plan.wait:
                raise

            teller.cannot(str(error))
            time.sleep(RETRY_S)


def connected(address: str, plan: Plan, teller: VerdictPrinter, endpoint: Endpoint) -> Session:
    """Return a session; with `wait` the cluster may come later."""
    while True:
        endpoint.heartbeat.beat()

        try:
            return Session(address, teller.options.hint(plan.job))
        except ClusterUnreachable as error:
            if not plan.wait:
                raise

            teller.cannot(str(error))
            time.sleep(RETRY_S)


class Serving:
    """What is done with each look."""

    def __init__(
        self,
        board: LatestSample,
        endpoint: Endpoint,
        teller: VerdictPrinter,
        pushing: SpanPusher | None,
    ) -> None:
        self._board = board
        self._endpoint = endpoint
        self._teller = teller
        self._pushing = pushing
        self._no_spans = ""

    def follow(self, watching: RunWatcher) -> Snapshot | None:
        """Put every look up; returns the last one when there is nothing more to come."""
        last = None

        for number, event in enumerate(watching):
            self._endpoint.heartbeat.beat()

            if not number:
                self._teller.serves(self._endpoint.target)

            if isinstance(event, SampleTaken):
                last = event.snapshot
                self._seen(watching, last)
            elif isinstance(event, Waiting):
                self._board.clear()
                self._teller.cannot(event.why)
            elif isinstance(event, Ended):
                linger(self._endpoint, self._teller)
            elif isinstance(event, SampleFailed):
                self._board.note_failure()
                self._teller.cannot(f"Sampling failed: {event.why}")

        return last

    def _seen(self, watching: RunWatcher, snapshot: Snapshot) -> None:
        self._board.put(snapshot)
        self._teller.seen(snapshot)

        if self._pushing is not None and watching.candidate is not None:
            why = self._pushing.push(watching.candidate, snapshot)

            if why and why != self._no_spans:
                say(self._teller.options, why)
                self._no_spans = why


def linger(endpoint: Endpoint, teller: VerdictPrinter) -> None:
    """Let whoever scrapes us see how the job ended, if anybody does."""
    scrapes, deadline = endpoint.scrapes, time.monotonic() + LINGER_S

    if scrapes:
        say(
            teller.options,
            f"The job has ended; waiting up to {LINGER_S:.0f} s for a final scrape.",
        )

    while scrapes and endpoint.scrapes == scrapes and time.monotonic() < deadline:
        time.sleep(0.1)


class VerdictPrinter:
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

    def serves(self, target: str) -> None:
        say(self.options, f"Serving metrics at http://{target}/metrics; press Ctrl-C to stop.")

    def cannot(self, why: str) -> None:
        if why != self._in_the_way:
            say(self.options, why)

        self._in_the_way = why
