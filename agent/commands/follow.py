"""`attach --follow`: one look after another as JSON Lines; the TUI's reader."""

from __future__ import annotations

import os
import signal
import sys
import threading

from dsray_inspect.agent.commands.options import Options
from dsray_inspect.agent.delta_codec import Writer
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.feed import Feed, SampleTaken
from dsray_inspect.agent.launchers.registry import choose_address
from dsray_inspect.agent.recording import line_of
from dsray_inspect.agent.session import Session


def follow(job: str | None, options: Options, every_s: float, *, as_columns: bool) -> ExitCode:
    """Print events until the job has ended; a screen of ours gets its looks as columns."""
    columns = Writer()

    with Session(choose_address(options.address), options.hint(job)) as session:
        candidate = session.find(job, inject=not options.no_inject)
        # Whoever reads keeps a window; here two looks are enough.
        ask = options.request(start=True)
        feed = Feed(session, candidate, ask, every_s=every_s, keep=2, past=session.history)

        for event in feed:
            sys.stdout.buffer.write(
                columns.line(event.snapshot)
                if as_columns and isinstance(event, SampleTaken)
                else line_of(event)
            )
            sys.stdout.buffer.flush()

    return ExitCode.OK


def keep_on_leash(is_wanted: bool) -> None:
    """End this process as SIGTERM does when whoever holds our stdin is gone, killed or not."""
    if is_wanted:
        threading.Thread(target=_wait_for_the_end_of_stdin, daemon=True, name="leash").start()


def _wait_for_the_end_of_stdin() -> None:
    while os.read(0, 64):
        pass

    os.kill(os.getpid(), signal.SIGTERM)
