"""The app: feeds what is read into the views, and does what keys ask for."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.events import Event, Key
from textual.message import Message
from textual.screen import Screen

from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.feed import SampleTaken
from dsray_inspect.tui.commands import Ranks
from dsray_inspect.tui.files import save_picture, save_window
from dsray_inspect.tui.gc_tuning import GcTuning
from dsray_inspect.tui.messages import Arrived, Broke, Fetched
from dsray_inspect.tui.rank_status import standings
from dsray_inspect.tui.requests import show_fetched
from dsray_inspect.tui.rows import keys_of
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.dialogs import Sheet, help_rows
from dsray_inspect.tui.screens.env import EnvView
from dsray_inspect.tui.screens.findings import FindingsView
from dsray_inspect.tui.screens.functions import FunctionsView
from dsray_inspect.tui.screens.header import VIEWS
from dsray_inspect.tui.screens.overview import OverviewView, ordered
from dsray_inspect.tui.screens.rank import RankView
from dsray_inspect.tui.screens.stacks import StacksView
from dsray_inspect.tui.screens.summary import functions
from dsray_inspect.tui.screens.timeline import TimelineView, foremost
from dsray_inspect.tui.source import Source
from dsray_inspect.tui.view_state import ViewState

SHOW_EVERY_S: Final = 0.25
TYPING_S: Final = 0.3
MOST_WAIT_S: Final = 1.0
GRACE_S: Final = 2.0
PLAY_S: Final = 0.5
WORTH_A_LOOK: Final = 4
MAKERS: dict[str, Callable[[], View]] = {
    "overview": OverviewView,
    "functions": FunctionsView,
    "stacks": StacksView,
    "timeline": TimelineView,
    "findings": FindingsView,
    "env": EnvView,
}
NAMES = tuple(view for view, _ in VIEWS)
HOME: Final = "overview"


class InspectApp(App[int]):
    """Shows one job, live or recorded."""

    TITLE = "dsray-inspect"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = App.COMMANDS | {Ranks}
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(f"{number},{letter}", f"open_view('{view}')", view, show=False)
            for number, (letter, view) in enumerate(zip("ofctwe", NAMES, strict=True), 1)
        ),
        Binding("tab", "turn(1)", "next view", show=False, priority=True),
        Binding("shift+tab", "turn(-1)", "previous view", show=False, priority=True),
        Binding("exclamation_mark", "trouble", "next in trouble", show=False),
        Binding("p", "pause", "pause"),
        Binding("left_square_bracket", "step(-1)", "step", key_display="[ ]"),
        Binding("right_square_bracket", "step(1)", "forward", show=False),
        Binding("left_curly_bracket", "step(-10)", "ten back", show=False),
        Binding("right_curly_bracket", "step(10)", "ten forward", show=False),
        Binding("y", "copy", "copy"),
        Binding("s", "save", "save", show=False),
        Binding("S", "picture", "picture", show=False),
        Binding("T", "light_or_dark", "light or dark", show=False),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
    ]

    def __init__(
        self,
        source: Source,
        job_name: str,
        *,
        clock: Callable[[], float] = time.time,
        in_utc: bool = False,
        folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.job_name = job_name
        self.story = ViewState()
        self.in_utc = in_utc
        self.broken: Broke | None = None
        self._clock = clock
        self.folder = folder
        self._started = clock()
        self._views: dict[str, View] = {}
        self._is_due = False
        self.has_shown = False
        self._is_playing = False
        self._interpreter = GcTuning(time.monotonic)

    # Life

    def get_default_screen(self) -> Screen[None]:
        return self._view(HOME)

    def on_mount(self) -> None:
        self._interpreter.hold()
        self._hear_signals()
        threading.Thread(target=self._read, daemon=True, name="reader").start()
        self.set_interval(1.0, self._tick)
        self.set_interval(PLAY_S, self._play)

    def on_unmount(self) -> None:
        self._interpreter.let_go()

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key):
            self._interpreter.key()

        await super().on_event(event)

    def _hear_signals(self) -> None:
        """End in order when the terminal is closed or somebody says so; soon in any case."""
        loop = asyncio.get_running_loop()

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._told_to_end)

    def _told_to_end(self) -> None:
        threading.Thread(target=end_soon, args=(self.source,), daemon=True).start()
        self.exit(return_code=int(ExitCode.INTERRUPTED))

    def _read(self) -> None:
        self.source.run(self._tell)

    def _tell(self, message: Message) -> bool:
        """Pass on what is read; what all views ask of a look is worked out in the reader's thread."""
        for event in message.events[-1:] if isinstance(message, Arrived) else ():
            if isinstance(event, SampleTaken):
                for work_out in (ordered, foremost, functions):
                    work_out(event.snapshot)

        return self.post_message(message)

    def now(self) -> float:
        return self._clock()

    def waiting_for(self) -> str:
        waited_s = self.now() - self._started
        since = f" ({waited_s:.0f} s)" if waited_s >= 1 else ""
        return f"Joining the cluster and looking for {self.job_name}{since}. q leaves."

    # What arrives

    def on_arrived(self, message: Arrived) -> None:
        for event in message.events:
            self.story.add(event)

        if not self.source.is_live:
            self.story.pause(True)
            self.story.step(0)

        if not self._is_due:
            self._is_due = True
            self.set_timer(SHOW_EVERY_S if self.has_shown else 0.001, self._show_unless_typed)

    def _show_unless_typed(self, waited_s: float = SHOW_EVERY_S) -> None:
        """Show what has arrived once no key is about to come: keys go first, for a while."""
        rest_s = TYPING_S - self._interpreter.since_key_s()

        if rest_s > 0 and waited_s < MOST_WAIT_S and self.has_shown:
            self.set_timer(rest_s, partial(self._show_unless_typed, waited_s + rest_s))
        else:
            self._show()

    def _show(self) -> None:
        self._is_due = False
        self.has_shown = bool(self.story.window)

        for screen in self.screen_stack[-2:]:
            if isinstance(screen, View) and (screen is self.screen or self.screen.is_modal):
                screen.update_view()

    def _tick(self) -> None:
        """Let what counts seconds go on when nothing arrives."""
        self._interpreter.tick()
        quiet = not self.story.window or self.story.unseen is not None

        if quiet or self.now() - self.story.window[-1].taken_at > 3:
            self._show()

    def on_broke(self, message: Broke) -> None:
        self.broken = message
        self.exit(return_code=message.code)

    # Views

    def _view(self, name: str) -> View:
        if name not in self._views:
            self._views[name] = MAKERS[name]()

            if name != HOME:
                # Installed, it keeps its cursor and its folds while another is shown.
                self.install_screen(self._views[name], name)

        return self._views[name]

    @property
    def view_name(self) -> str:
        """The view that is shown, or that a rank was opened from."""
        views = [one.VIEW for one in self.screen_stack if isinstance(one, View)]
        return next((view for view in reversed(views) if view in NAMES), HOME)

    def open_view(self, name: str) -> None:
        """Go to a view, whatever stands over the present one; the overview is below them all."""
        if name == self.view_name and self.screen is self._view(name):
            return

        while len(self.screen_stack) > 2:
            self.pop_screen()

        if name == HOME:
            self.go_back()
        elif len(self.screen_stack) == 2:
            # Not by way of the overview, which would be drawn for nothing.
            self.switch_screen(self._view(name))
        else:
            self.push_screen(self._view(name))

    def action_open_view(self, name: str) -> None:
        self.open_view(name)

    def action_turn(self, by: int) -> None:
        if self.screen.is_modal:
            return

        at = NAMES.index(self.view_name)
        self.open_view(NAMES[(at + by) % len(NAMES)])

    def open_rank(self, actor_id: str) -> None:
        """Go to a rank."""
        snapshot = self.story.now
        workers = snapshot.workers if snapshot is not None else ()
        worker = next((one for one in workers if one.actor_id == actor_id), None)

        if worker is not None:
            self.push_screen(RankView(worker))

    def go_back(self) -> None:
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_trouble(self) -> None:
        """Put the cursor of the overview on the next rank in trouble."""
        self.open_view(HOME)
        self.call_after_refresh(self._to_trouble)

    def _to_trouble(self) -> None:
        snapshot = self.story.now

        if snapshot is None or not isinstance(self.screen, OverviewView):
            return

        by_actor = standings(snapshot)
        bad = [
            key
            for key in keys_of(self.screen.list.rows)
            if key in by_actor and by_actor[key].trouble <= WORTH_A_LOOK
        ]
        current = self.screen.list.current

        if not bad:
            self.notify("No rank is in trouble.")
        elif current is not None and current.key in bad:
            self.screen.list.go_to(bad[(bad.index(current.key) + 1) % len(bad)])
        else:
            self.screen.list.go_to(bad[0])

    # Time

    def action_pause(self) -> None:
        if self.source.is_live:
            self.story.pause(not self.story.is_paused)
        else:
            at_end = self.story.position == len(self.story.window)
            self._is_playing = not self._is_playing

            if self._is_playing and at_end:
                self.story.step(-len(self.story.window))

        self._show()

    def action_step(self, looks: int) -> None:
        self._is_playing = False

        if not self.story.step(looks):
            self.notify("There is no look beyond this one.", timeout=2)

        self._show()

    def _play(self) -> None:
        if self._is_playing:
            self._is_playing = self.story.step(1)
            self._show()

    # Things to take away

    def action_copy(self) -> None:
        view = self.screen
        row = view.list.current if isinstance(view, View) else None
        text = (row.copy or row.text).strip() if row is not None else ""

        if text:
            self.copy_to_clipboard(text)
            self.notify(text, title="Copied", timeout=3, markup=False)

    def action_save(self) -> None:
        """Write the window down, up to the look that is shown."""
        if self.story.now is not None:
            save_window(self)

    def action_picture(self) -> None:
        save_picture(self)

    def on_fetched(self, message: Fetched) -> None:
        show_fetched(self, message)

    # The rest

    def action_help(self) -> None:
        self.push_screen(Sheet("Keys", help_rows))

    def action_light_or_dark(self) -> None:
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    async def action_quit(self) -> None:
        self.exit(return_code=0)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)

        for name, title in VIEWS:
            yield SystemCommand(
                title, f"Open {title.lower()}", lambda name=name: self.open_view(name)
            )

        yield SystemCommand("Save", "Save the window as JSON Lines", self.action_save)
        yield SystemCommand("Pause", "Pause, or live again", self.action_pause)
        yield SystemCommand(
            "Next in trouble", "Go to the next rank in trouble", self.action_trouble
        )


def end_soon(source: Source) -> None:
    """End this process when it has not ended by itself: a closed terminal may keep the driver."""
    time.sleep(GRACE_S)
    source.close()
    os._exit(int(ExitCode.INTERRUPTED))
