"""What all views share: the bars around the rows, the filter, and when they are updated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Input

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.tui.messages import AskStacks, GoBack, OpenRank, OpenView
from dsray_inspect.tui.panels.header import (
    location_line,
    notice_lines,
    verdict_lines,
    view_tabs,
)
from dsray_inspect.tui.rows import Row, blank, row
from dsray_inspect.tui.state import AppState
from dsray_inspect.tui.targets import FoldTarget, RankTarget, ViewName, ViewTarget
from dsray_inspect.tui.view_state import ViewState
from dsray_inspect.tui.widgets.bars import Bar, Tabs
from dsray_inspect.tui.widgets.keys import Keys
from dsray_inspect.tui.widgets.rows import Rows

_MAX_ASKED: Final = 4
"""Ranks whose native frames or locals are read at once: each of them is paused."""


class View(Screen[None]):
    """A screen with the verdict on top and rows below."""

    VIEW: ClassVar[ViewName | None] = None
    """Which of the six views this is; None for the page of a rank."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter"),
        Binding("n", "ask_stacks(True)", "native", show=False),
        Binding("l", "ask_stacks(False)", "locals", show=False),
        Binding("escape,backspace", "back", "back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.toggled: set[str] = set()
        """The keys of what the user has folded or unfolded."""
        self._filter = ""
        self._is_ready = False
        self._shown_for: tuple[object, ...] = ()

    # For each view to define

    def rows(self, snapshot: Snapshot, view_state: ViewState) -> Sequence[Row]:
        """Return the rows for a snapshot."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """Yield the widgets between the bars."""
        yield Rows(id="rows")

    def crumbs(self) -> Sequence[str]:
        """Return the location that the top line shows after the job."""
        return ((self.VIEW or "").capitalize(),)

    def selected_ranks(self) -> Sequence[int]:
        """Return the ranks that keys such as `l` apply to: those of the row under the cursor."""
        current = self.current
        return current.ranks if current is not None else ()

    def rows_updated(self) -> None:
        """Update what depends on the rows or on the cursor."""

    # Common to all views

    @property
    def state(self) -> AppState:
        return cast("AppState", self.app)

    @property
    def list(self) -> Rows:
        return self.query_one("#rows", Rows)

    @property
    def current(self) -> Row | None:
        """The row under the cursor; None on a screen that is about to be shown."""
        return self.list.current if self._is_ready else None

    def compose(self) -> ComposeResult:
        yield Bar(id="where")
        yield Bar(id="verdict")
        yield Bar(id="notices")
        yield Tabs(id="tabs")
        yield from self.body()
        yield Input(id="filter", placeholder="show rows that contain …", compact=True)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.list.focus()
        # A screen on the stack may be updated before its widgets exist.
        self._is_ready = True
        self.update_view()

    def on_screen_resume(self) -> None:
        self._update_if_changed()

    def on_resize(self) -> None:
        self._update_if_changed()

    def _update_if_changed(self) -> None:
        """Update unless the screen is up to date: resume and resize often come together."""
        if self._is_ready and self._shown_for != self._inputs():
            self.update_view()

    def _inputs(self) -> tuple[object, ...]:
        """Return what the rows depend on, other than the view's own keys."""
        state = self.state.view_state
        time = (id(state.shown), state.position, state.is_paused, state.failure, state.ended)
        return (*time, state.history, self.size, self.list.size, self.app.theme)

    def update_view(self) -> None:
        """Show the present state."""
        if not self._is_ready:
            return

        self._shown_for = self._inputs()
        state, width = self.state, self.size.width
        snapshot = state.view_state.shown
        # A view that is being closed may be updated after its widgets are gone.
        with self.app.batch_update(), contextlib.suppress(NoMatches):
            self.query_one("#where", Bar).show([location_line(state, self.crumbs(), width)])
            self.query_one("#verdict", Bar).show(verdict_lines(state, width))
            self.query_one("#notices", Bar).show(notice_lines(state, width))
            self.query_one("#tabs", Tabs).show_views(view_tabs(snapshot), self.VIEW)
            rows = self.rows(snapshot, state.view_state) if snapshot is not None else []
            self.list.show(self._filtered(rows))
            self.rows_updated()

    # Opening rows

    def on_rows_opened(self, message: Rows.Opened) -> None:
        message.stop()
        target = message.row.target

        if isinstance(target, RankTarget):
            self.app.post_message(OpenRank(target.actor_id))
        elif isinstance(target, ViewTarget):
            self.app.post_message(OpenView(target.view))
        elif isinstance(target, FoldTarget):
            self.toggled ^= {target.key}
            self.update_view()

    def action_ask_stacks(self, native: bool) -> None:
        ranks = tuple(self.selected_ranks()[:_MAX_ASKED])
        self.app.post_message(AskStacks(ranks, native=native))

    def on_tabs_picked(self, message: Tabs.Picked) -> None:
        self.app.post_message(OpenView(message.view))

    def action_back(self) -> None:
        if not self._clear_filter():
            self.app.post_message(GoBack())

    # The filter

    def _filtered(self, rows: Sequence[Row]) -> Sequence[Row]:
        wanted = self._filter.casefold()

        if not wanted:
            return rows

        kept = [row for row in rows if not row.key or wanted in row.text.casefold()]

        if any(row.key for row in kept):
            return _without_empty_parts(kept)

        return [row("", (f" No row contains “{self._filter}”. Esc clears the filter.", "dim"))]

    def action_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        self._filter = message.value
        self.update_view()

    def on_input_submitted(self) -> None:
        self.query_one("#filter").display = bool(self._filter)
        self.list.focus()

    def _clear_filter(self) -> bool:
        """Show all rows again; returns whether there was a filter."""
        line = self.query_one("#filter", Input)
        was_shown = line.display
        line.value = ""
        line.display = False
        self.list.focus()
        return bool(was_shown)


def _without_empty_parts(rows: Iterable[Row]) -> list[Row]:
    """Drop headings and blank rows that no row follows."""
    kept: list[Row] = []

    for each in reversed(list(rows)):
        if each.key or (kept and kept[-1].key):
            kept.append(each)

    kept.reverse()
    return kept or [blank()]
