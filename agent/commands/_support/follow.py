"""`attach --follow`: one sample after another as JSON Lines; also the TUI's reader process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Final

import msgspec

from dsray_inspect.agent.commands._support.options import Options
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.delta_codec import Writer
from dsray_inspect.agent.documents import EventView
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.feed import Feed, SampleTaken
from dsray_inspect.agent.session import Session

_FORMAT: Final = "jsonl"
_JSON: Final = "json"


def follow(job: str | None, options: Options, every_s: float, *, as_columns: bool) -> ExitCode:
    """Print events until the job ends.

    Args:
        job: The job to sample.
        options: The common options; `--json` stands for JSON Lines here.
        every_s: Seconds between samples.
        as_columns: Whether to encode snapshots as changes of columns, for the TUI.
    """
    if options.format == _JSON:
        options = msgspec.structs.replace(options, format=_FORMAT)

    printer = Printer(EventView, options, default=_FORMAT)
    writer = Writer()

    with Session(options.choose_address(), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        # The reader at the other end keeps the window; two snapshots are enough here.
        feed = Feed(
            session,
            candidate,
            options.request(start=True),
            every_s=every_s,
            keep=2,
            past=session.history,
        )

        for event in feed:
            if as_columns and isinstance(event, SampleTaken):
                sys.stdout.buffer.write(writer.line(event.snapshot))
                sys.stdout.buffer.flush()
            else:
                printer.print(EventView(event=event))

    return ExitCode.OK


def exit_when_stdin_closes(is_wanted: bool) -> None:
    """End this process as SIGTERM does once the process at the other end of stdin is gone."""
    if is_wanted:
        threading.Thread(target=_wait_for_stdin_to_close, daemon=True, name="stdin-watch").start()


def _wait_for_stdin_to_close() -> None:
    while os.read(0, 64):
        pass

    os.kill(os.getpid(), signal.SIGTERM)
