"""Requests that take a while, for which another process is started: native frames and locals."""

from __future__ import annotations

from functools import partial

from textual.app import App

from dsray_inspect.tui.messages import AskStacks, StacksFetched
from dsray_inspect.tui.screens.dialogs import Question, Sheet, text_rows
from dsray_inspect.tui.source import IS_RECORDING
from dsray_inspect.tui.state import AppState


def ask_stacks(app: App[int], state: AppState, request: AskStacks) -> None:
    """Read native frames or locals of ranks once the user has confirmed that this pauses them."""
    snapshot, ranks = state.view_state.shown, request.ranks

    if snapshot is None or not ranks:
        app.notify("Put the cursor on a rank first.")
        return

    if not state.source.is_live:
        app.notify(IS_RECORDING)
        return

    what = "native frames" if request.native else "local variables"
    pause = "about a second" if request.native else "a moment"
    whose = f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
    title = f"{what.capitalize()} of {whose}"
    flags = [f"--rank={rank}" for rank in ranks]
    args = ("stacks", snapshot.job.label, "--native" if request.native else "--locals", *flags)

    def read() -> None:
        text, problem = state.source.ask(*args)
        app.post_message(StacksFetched(title, tuple(text.splitlines()), problem))

    def read_if_confirmed(answer: bool | None) -> None:
        if answer:
            app.notify(f"{title} …", timeout=3)
            app.run_worker(read, thread=True, exit_on_error=False)

    question = (
        f"Reading the {what} of {whose} pauses {'them' if len(ranks) > 1 else 'it'} for {pause}."
    )
    app.push_screen(Question(question), read_if_confirmed)


def show_stacks(app: App[int], message: StacksFetched) -> None:
    """Show the answer, scrolled to the first line about a rank."""
    if message.problem:
        app.notify(message.problem, severity="error", markup=False)
        return

    first = next((n for n, line in enumerate(message.lines) if " rank" in line), 0)
    app.push_screen(Sheet(message.title, partial(text_rows, message.lines), f"line {first}"))
