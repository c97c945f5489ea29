"""The life of `serve`: listen, find the run, sample it, print what changed, and end in order."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.options import Options, print_message
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.documents import VerdictChangeView
from dsray_inspect.agent.errors import ClusterUnreachable, ExitCode
from dsray_inspect.agent.feed import Ended, SampleFailed, SampleTaken
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.verdict_change import is_news
from dsray_inspect.exporters import bind, discovery
from dsray_inspect.exporters.endpoint import SILENT_S, Endpoint
from dsray_inspect.exporters.latest_sample import LatestSample
from dsray_inspect.exporters.otlp import Otlp, is_wanted
from dsray_inspect.exporters.prometheus import Collector, registry
from dsray_inspect.exporters.run_watcher import RunWatcher, Waiting
from dsray_inspect.exporters.span_pusher import SpanPusher

_FINAL_SCRAPE_S: Final = 60.0
"""How long the last state of a job that has ended waits to be scraped."""
_RETRY_S: Final = 5.0
_LATE_FACTOR: Final = 3.0
"""How many times later than planned a sample may be before /healthz reports it."""
_T = TypeVar("_T")


class ServePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `serve`."""

    job: str | None
    listen: str
    token_file: str | None
    sd_file: str | None
    every_s: float
    otlp: bool
    wait: bool


def serve(plan: ServePlan, options: Options) -> ExitCode:
    """Serve until the job ends or, with `wait`, until this process is ended."""
    printer = _VerdictPrinter(options)
    host_and_port = bind.parse(plan.listen)
    token = bind.token_of(plan.token_file, host_and_port)
    latest = LatestSample()
    address = _retry(lambda: options.choose_address(), plan, printer)
    request = options.request(start=True)

    # The session ends last: there is little time to end in, and Ray may take all of it.
    with contextlib.ExitStack() as connection, contextlib.ExitStack() as stack:
        otlp = stack.enter_context(Otlp()) if plan.otlp or is_wanted() else None
        collector = Collector(latest, otlp.metric_samples) if otlp else Collector(latest)
        endpoint = stack.enter_context(
            Endpoint(
                host_and_port,
                registry(collector),
                token=token,
                towards=address,
                silent_s=max(SILENT_S, _LATE_FACTOR * plan.every_s),
            )
        )
        stack.enter_context(discovery.published_file(plan.sd_file, endpoint.target))

        def connect() -> Session:
            endpoint.heartbeat.beat()
            return Session(address, options.hint(plan.job))

        session = connection.enter_context(_retry(connect, plan, printer))
        pusher = SpanPusher(session, otlp, request) if otlp and request.inject else None

        if otlp and not request.inject:
            print_message(
                options,
                "No spans are sent: they are recorded inside the ranks, which --no-inject forbids.",
            )

        watcher = RunWatcher(session, plan.job, request, every_s=plan.every_s, wait=plan.wait)
        last = _Serving(latest, endpoint, printer, pusher).follow(watcher)

    return exit_code_of(last) if last is not None else ExitCode.OK


def _retry(connect: Callable[[], _T], plan: ServePlan, printer: _VerdictPrinter) -> _T:
    """Return the result of `connect`; with `wait`, try again until the cluster can be reached."""
    while True:
        try:
            return connect()
        except ClusterUnreachable as error:
            if not plan.wait:
                raise

            printer.print_problem(str(error))
            time.sleep(_RETRY_S)


class _Serving:
    """Hands each sample to whatever needs it."""

    def __init__(
        self,
        latest: LatestSample,
        endpoint: Endpoint,
        printer: _VerdictPrinter,
        pusher: SpanPusher | None,
    ) -> None:
        self._latest = latest
        self._endpoint = endpoint
        self._printer = printer
        self._pusher = pusher
        self._push_problem = ""

    def follow(self, watcher: RunWatcher) -> Snapshot | None:
        """Publish every sample, and return the last one once there are no more."""
        last = None

        for number, event in enumerate(watcher):
            self._endpoint.heartbeat.beat()

            if not number:
                self._printer.print_address(self._endpoint.target)

            if isinstance(event, SampleTaken):
                last = event.snapshot
                self._publish(watcher, last)
            elif isinstance(event, Waiting):
                self._latest.clear()
                self._printer.print_problem(event.why)
            elif isinstance(event, Ended):
                _wait_for_final_scrape(self._endpoint, self._printer)
            elif isinstance(event, SampleFailed):
                self._latest.note_failure()
                self._printer.print_problem(f"Sampling failed: {event.why}")

        return last

    def _publish(self, watcher: RunWatcher, snapshot: Snapshot) -> None:
        self._latest.put(snapshot)
        self._printer.print_change(snapshot)

        if self._pusher is not None and watcher.candidate is not None:
            problem = self._pusher.push(watcher.candidate, snapshot)

            if problem and problem != self._push_problem:
                print_message(self._printer.options, problem)
                self._push_problem = problem


def _wait_for_final_scrape(endpoint: Endpoint, printer: _VerdictPrinter) -> None:
    """If anything scrapes this process, let it see how the job ended."""
    scrapes, deadline = endpoint.scrapes, time.monotonic() + _FINAL_SCRAPE_S

    if scrapes:
        print_message(
            printer.options,
            f"The job has ended; waiting up to {_FINAL_SCRAPE_S:.0f} s for a final scrape.",
        )

    while scrapes and endpoint.scrapes == scrapes and time.monotonic() < deadline:
        time.sleep(0.1)


class _VerdictPrinter:
    """Prints the verdict to stdout when it changes, and problems to stderr."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._printer = Printer(VerdictChangeView, options)
        self._printed: Snapshot | None = None
        self._problem = ""

    def print_change(self, snapshot: Snapshot) -> None:
        self._problem = ""

        if is_news(self._printed, snapshot):
            self._printed = snapshot
            self._printer.print(VerdictChangeView(snapshot=snapshot))

    def print_address(self, target: str) -> None:
        print_message(
            self.options, f"Serving metrics at http://{target}/metrics; press Ctrl-C to stop."
        )

    def print_problem(self, why: str) -> None:
        if why != self._problem:
            print_message(self.options, why)

        self._problem = why
