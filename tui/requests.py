"""What a key asks another process for, as it takes a while: native stacks, locals, a rank's log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dsray_inspect.agent.model import Worker
from dsray_inspect.tui.messages import Fetched, Logged
from dsray_inspect.tui.screens.dialogs import Question, Sheet, text_rows
from dsray_inspect.tui.screens.log import fetch
from dsray_inspect.tui.source import RECORDED

if TYPE_CHECKING:
    from dsray_inspect.tui.app import InspectApp
    from dsray_inspect.tui.screens.base import View


def ask_stacks(app: InspectApp, ranks: tuple[int, ...], *, native: bool) -> None:
    """Show native frames or locals of ranks, once the user knows what that does to them."""
    snapshot = app.story.now

    if snapshot is None or not ranks:
        app.notify("Put the cursor on a rank, or on a frame of one.")
        return

    if not app.source.is_live:
        app.notify(RECORDED)
        return

    what = "Native frames" if native else "Local variables"
    most = "about a second" if native else "a moment"
    title = f"{what} of rank {', '.join(map(str, ranks))}"
    flags = [f"--rank={rank}" for rank in ranks]
    words = ("stacks", snapshot.job.label, "--native" if native else "--locals", *flags)

    def read() -> None:
        text, problem = app.source.ask(*words)
        app.post_message(Fetched(title, tuple(text.splitlines()), problem))

    def go_on(answer: bool | None) -> None:
        if answer:
            app.notify(f"{title} …", timeout=3)
            app.run_worker(read, thread=True, exit_on_error=False)

    app.push_screen(Question(f"{title} stop it for {most}."), go_on)


def show_fetched(app: InspectApp, message: Fetched) -> None:
    """Show what came, from the first line about a rank on."""
    if message.problem:
        app.notify(message.problem, severity="error", markup=False)
        return

    first = next((n for n, line in enumerate(message.lines) if " rank" in line), 0)
    app.push_screen(Sheet(message.title, partial(text_rows, message.lines), f"line {first}"))


def ask_log(app: InspectApp, view: View, worker: Worker) -> bool:
    """Read the end of a rank's log files and tell the view; returns whether it will be told."""
    snapshot, rank = app.story.now, worker.rank

    if not app.source.is_live:
        app.notify(RECORDED)
        return False

    if snapshot is None or rank is None:
        app.notify("Which rank this process is, is not known.")
        return False

    job = snapshot.job.label

    def read() -> None:
        asked = fetch(app.source, job, rank)
        view.post_message(Logged(worker.actor_id, asked.log, asked.problem))

    app.run_worker(read, thread=True, exit_on_error=False)
    return True
