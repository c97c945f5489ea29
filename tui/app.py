"""The app: feeds events into the views, and does what keys and screens ask for."""

from __future__ import annotations

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
from dsray_inspect.tui import messages
from dsray_inspect.tui.files import SavedFile, save_picture, save_window
from dsray_inspect.tui.gc_tuning import GcTuning
from dsray_inspect.tui.navigation import HOME, VIEW_NAMES, Navigator
from dsray_inspect.tui.palette import RankProvider
from dsray_inspect.tui.panels.header import VIEW_TITLES
from dsray_inspect.tui.panels.phase_tracks import foremost_ranks
from dsray_inspect.tui.panels.rank_list import ordered_ranks
from dsray_inspect.tui.panels.summary import function_rows
from dsray_inspect.tui.requests import ask_stacks, show_stacks
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.dialogs import Sheet, help_rows
from dsray_inspect.tui.shutdown import end_on_signals
from dsray_inspect.tui.source import Source
from dsray_inspect.tui.targets import ViewName
from dsray_inspect.tui.view_state import ViewState

_REFRESH_EVERY_S: Final = 0.25
_KEYS_FIRST_S: Final = 0.3
"""After a key, a refresh waits this long for the next one."""
_MAX_REFRESH_DELAY_S: Final = 1.0
_PLAY_EVERY_S: Final = 0.5
_STALE_S: Final = 3.0


class InspectApp(App[int]):
    """Shows one job, live or recorded; it is the `AppState` of its screens."""

    TITLE = "dsray-inspect"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = App.COMMANDS | {
        RankProvider
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(f"{number},{letter}", f"open_view('{view}')", view, show=False)
            for number, (letter, view) in enumerate(zip("ofctwe", VIEW_NAMES, strict=True), 1)
        ),
        Binding("tab", "turn(1)", "next view", show=False, priority=True),
        Binding("shift+tab", "turn(-1)", "previous view", show=False, priority=True),
        Binding("exclamation_mark", "next_in_trouble", "next in trouble", show=False),
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
        self.view_state = ViewState()
        self.in_utc = in_utc
        self.failure: messages.ReaderFailed | None = None
        """Why the app ended before it could show anything."""
        self.has_shown = False
        self._navigator = Navigator(self)
        self._clock = clock
        self._folder = folder
        self._started_at = clock()
        self._is_refresh_due = False
        self._is_playing = False
        self._gc_tuning = GcTuning(time.monotonic)

    # Start and end

    def get_default_screen(self) -> Screen[None]:
        return self._navigator.view(HOME)

    def on_mount(self) -> None:
        self._gc_tuning.install()
        end_on_signals(self.source, lambda: self.exit(return_code=int(ExitCode.INTERRUPTED)))
        threading.Thread(target=self._read, daemon=True, name="reader").start()
        self.set_interval(1.0, self._tick)
        self.set_interval(_PLAY_EVERY_S, self._play)

    def on_unmount(self) -> None:
        self._gc_tuning.uninstall()

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key):
            self._gc_tuning.note_key()

        await super().on_event(event)

    def _read(self) -> None:
        self.source.run(self._post_from_reader)

    def _post_from_reader(self, message: Message) -> bool:
        """Post a message; what the views derive from its snapshot is computed in this thread."""
        for event in message.events[-1:] if isinstance(message, messages.EventsArrived) else ():
            if isinstance(event, SampleTaken):
                for derive in (ordered_ranks, foremost_ranks, function_rows):
                    derive(event.snapshot)

        return self.post_message(message)

    # AppState

    def now(self) -> float:
        return self._clock()

    def connecting_text(self) -> str:
        waited_s = self.now() - self._started_at
        since = f" ({waited_s:.0f} s)" if waited_s >= 1 else ""
        return f"Joining the cluster and looking for {self.job_name}{since}. q quits."

    # Events

    def on_events_arrived(self, message: messages.EventsArrived) -> None:
        for event in message.events:
            self.view_state.add(event)

        if not self.source.is_live:
            self.view_state.pause()

        if not self._is_refresh_due:
            self._is_refresh_due = True
            self.set_timer(_REFRESH_EVERY_S if self.has_shown else 0.001, self._refresh_after_keys)

    def _refresh_after_keys(self, waited_s: float = _REFRESH_EVERY_S) -> None:
        """Refresh unless another key is likely to follow: keys go first, within limits."""
        rest_s = _KEYS_FIRST_S - self._gc_tuning.since_key_s()

        if rest_s > 0 and waited_s < _MAX_REFRESH_DELAY_S and self.has_shown:
            self.set_timer(rest_s, partial(self._refresh_after_keys, waited_s + rest_s))
        else:
            self._refresh_views()

    def _refresh_views(self) -> None:
        self._is_refresh_due = False
        self.has_shown = bool(self.view_state.window)

        for screen in self.screen_stack[-2:]:
            if isinstance(screen, View) and (screen is self.screen or self.screen.is_modal):
                screen.update_view()

    def _tick(self) -> None:
        """Update what shows an age in seconds even when nothing arrives."""
        self._gc_tuning.tick()
        state = self.view_state
        is_silent = not state.window or state.failure is not None

        if is_silent or self.now() - state.window[-1].taken_at > _STALE_S:
            self._refresh_views()

    def on_reader_failed(self, message: messages.ReaderFailed) -> None:
        self.failure = message
        self.exit(return_code=message.code)

    # Navigation

    @property
    def view_name(self) -> ViewName:
        """The view that is shown, or from which a rank was opened."""
        return self._navigator.view_name

    def action_open_view(self, name: ViewName) -> None:
        self._navigator.open_view(name)

    def on_open_view(self, message: messages.OpenView) -> None:
        self._navigator.open_view(message.view)

    def on_open_rank(self, message: messages.OpenRank) -> None:
        snapshot = self.view_state.shown
        workers = snapshot.workers if snapshot is not None else ()

        for worker in workers:
            if worker.actor_id == message.actor_id:
                self._navigator.open_rank(worker)
                return

    def on_go_back(self) -> None:
        self._navigator.go_back()

    def action_turn(self, by: int) -> None:
        if not self.screen.is_modal:
            self._navigator.turn(by)

    def action_next_in_trouble(self) -> None:
        self._navigator.open_view(HOME)
        self.call_after_refresh(self._navigator.overview.go_to_next_in_trouble)

    # Time

    def action_pause(self) -> None:
        state = self.view_state

        if self.source.is_live:
            if state.is_paused:
                state.resume()
            else:
                state.pause()
        else:
            at_end = state.position == len(state.window)
            self._is_playing = not self._is_playing

            if self._is_playing and at_end:
                state.step(-len(state.window))

        self._refresh_views()

    def action_step(self, count: int) -> None:
        self._is_playing = False

        if not self.view_state.step(count):
            which = "newest" if count > 0 else "oldest"
            self.notify(f"This is the {which} snapshot.", timeout=2)

        self._refresh_views()

    def _play(self) -> None:
        if self._is_playing:
            self._is_playing = self.view_state.step(1)
            self._refresh_views()

    # Copy and save

    def action_copy(self) -> None:
        view = self.screen
        row = view.current if isinstance(view, View) else None
        text = (row.copy or row.text).strip() if row is not None else ""

        if text:
            self.copy_to_clipboard(text)
            self.notify(text, title="Copied", timeout=3, markup=False)

    def action_save(self) -> None:
        if self.view_state.shown is not None:
            saved = save_window(self, self._folder or Path.cwd())
            text = f"dsray-inspect attach --replay {saved.path.name}"
            self._notify_saved(saved, f"{len(self.view_state.past)} snapshots saved", text)

    def action_picture(self) -> None:
        picture = self.export_screenshot(title="")
        saved = save_picture(self, self._folder or Path.cwd(), picture)
        self._notify_saved(saved, "Picture saved", saved.path.name)

    def _notify_saved(self, saved: SavedFile, title: str, text: str) -> None:
        if saved.problem:
            self.notify(saved.problem, severity="error", markup=False)
        else:
            self.notify(text, title=title, markup=False)

    # Dialogs and the rest

    def on_ask_stacks(self, message: messages.AskStacks) -> None:
        ask_stacks(self, self, message)

    def on_stacks_fetched(self, message: messages.StacksFetched) -> None:
        show_stacks(self, message)

    def action_help(self) -> None:
        self.push_screen(Sheet("Keys", help_rows))

    def action_light_or_dark(self) -> None:
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    async def action_quit(self) -> None:
        self.exit(return_code=0)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)

        for name, title in VIEW_TITLES.items():
            open_view = partial(self._navigator.open_view, name)
            yield SystemCommand(title, f"Open {title.lower()}", open_view)

        yield SystemCommand("Save", "Save the window as JSON Lines", self.action_save)
        yield SystemCommand("Pause", "Pause or resume", self.action_pause)
        yield SystemCommand(
            "Next in trouble", "Go to the next rank in trouble", self.action_next_in_trouble
        )
