"""What all views have in common: the bars around them, the filter, and how they are kept up to date."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Input

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.tui.rows import Row, blank, row
from dsray_inspect.tui.screens.header import (
    notice_lines,
    verdict_lines,
    views_with_marks,
    where_line,
)
from dsray_inspect.tui.view_state import ViewState
from dsray_inspect.tui.widgets.bars import Bar, Tabs
from dsray_inspect.tui.widgets.keys import Keys
from dsray_inspect.tui.widgets.rows import Rows

if TYPE_CHECKING:
    from dsray_inspect.tui.app import InspectApp


class View(Screen[None]):
    """One view of the job: the verdict on top, rows below."""

    VIEW: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter"),
        Binding("escape,backspace", "back", "back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._wanted = ""
        self._is_ready = False
        self._told: tuple[object, ...] = ()

    # To be said by each view

    def rows(self, snapshot: Snapshot, story: ViewState) -> Sequence[Row]:
        """Return what the view shows of a look."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """Yield what stands between the bars."""
        yield Rows(id="rows")

    def crumbs(self) -> Sequence[str]:
        """Return where one is, below the job."""
        return (self.VIEW.capitalize(),)

    def chosen(self, row: Row) -> None:
        """Follow a row to where it leads."""
        kind, _, what = row.target.partition(":")

        if kind == "rank":
            self.inspect.open_rank(what)
        elif kind == "view":
            self.inspect.open_view(what)

    # The rest

    @property
    def inspect(self) -> InspectApp:
        return cast("InspectApp", self.app)

    @property
    def list(self) -> Rows:
        return self.query_one("#rows", Rows)

    def compose(self) -> ComposeResult:
        yield Bar(id="where")
        yield Bar(id="verdict")
        yield Bar(id="notices")
        yield Tabs(id="tabs")
        yield from self.body()
        yield Input(id="filter", placeholder="show rows with …", compact=True)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.list.focus()
        # A screen is on the stack, and may be told to update, before it has its widgets.
        self._is_ready = True
        self.update_view()

    def on_screen_resume(self) -> None:
        self._update_if_other()

    def on_resize(self) -> None:
        self._update_if_other()

    def _update_if_other(self) -> None:
        """Show what is known now, unless it is on the screen already: an event seldom comes alone."""
        if self._is_ready and self._told != self._to_tell():
            self.update_view()

    def _to_tell(self) -> tuple[object, ...]:
        """Return what the rows depend on, but for the view's own keys."""
        app, story = self.inspect, self.inspect.story
        look = (id(story.now), story.position, story.is_paused, story.unseen, story.ended)
        return (*look, story.history, self.size, self.list.size, app.theme)

    def update_view(self) -> None:
        """Show what is known now."""
        if not self._is_ready:
            return

        self._told = self._to_tell()
        app, width = self.inspect, self.size.width
        story, snapshot = app.story, app.story.now
        # A view that is being closed may be told to update when it has lost its widgets.
        with app.batch_update(), contextlib.suppress(NoMatches):
            self.query_one("#where", Bar).show([where_line(app, self.crumbs(), width)])
            self.query_one("#verdict", Bar).show(verdict_lines(app, width))
            self.query_one("#notices", Bar).show(notice_lines(app, width))
            self.query_one("#tabs", Tabs).show_views(views_with_marks(snapshot), self.VIEW)
            shown = self.rows(snapshot, story) if snapshot is not None else []
            self.list.show(self.fitting(shown))
            self.shown()

    def shown(self) -> None:
        """Do what is to be done when the rows are up to date."""

    def fitting(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows that the filter leaves."""
        wanted = self._wanted.casefold()

        if not wanted:
            return rows

        kept = [one for one in rows if not one.key or wanted in one.text.casefold()]

        if any(one.key for one in kept):
            return without_empty_parts(kept)

        return [row("", (f" Nothing here has “{self._wanted}”. Esc shows all again.", "dim"))]

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        message.stop()
        self.chosen(message.row)

    def on_tabs_picked(self, message: Tabs.Picked) -> None:
        self.inspect.open_view(message.view)

    # The filter

    def action_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        self._wanted = message.value
        self.update_view()

    def on_input_submitted(self) -> None:
        self.query_one("#filter").display = bool(self._wanted)
        self.list.focus()

    def clear_filter(self) -> bool:
        """Show all rows again; returns whether any were hidden or about to be."""
        line = self.query_one("#filter", Input)
        was = line.display
        line.value = ""
        line.display = False
        self.list.focus()
        return bool(was)

    def action_back(self) -> None:
        if not self.clear_filter():
            self.inspect.go_back()


def without_empty_parts(rows: Iterable[Row]) -> list[Row]:
    """Return rows without headings and blanks that nothing follows."""
    kept: list[Row] = []

    for one in reversed(list(rows)):
        if one.key or (kept and kept[-1].key):
            kept.append(one)

    kept.reverse()
    return kept if kept else [blank()]
