"""A list of rows with a cursor: only what is seen is drawn, only what changed is drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dsray_inspect.tui.rows import LOOKS, Part, Row, keys_of
from dsray_inspect.tui.widgets.styles import looks_of


class Rows(ScrollView, can_focus=True):
    """Shows rows; the cursor stays on its row's key, wherever that moves.

    Until somebody moves it, it is on the first row: what stands on top now is what matters most.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"rows--{look}" for look in (*LOOKS, "cursor")}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False),
        Binding("k,up", "move(-1)", "up", show=False),
        Binding("g,home", "edge(0)", "top", show=False),
        Binding("G,end", "edge(1)", "end", show=False),
        Binding("pagedown,ctrl+d,ctrl+f", "page(1)", "page down", show=False),
        Binding("pageup,ctrl+u,ctrl+b", "page(-1)", "page up", show=False),
        Binding("enter", "choose", "open"),
        Binding("space", "choose", "open", show=False),
    ]
    cursor = reactive(0, repaint=False)

    class Chosen(Message):
        """Enter was pressed on a row, or it was clicked a second time."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    class Moved(Message):
        """The cursor is on another row than before."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: Sequence[Row] = ()
        self._drawn: dict[int, Sequence[Part]] = {}
        self._looks: dict[str, Style] = {}
        self._is_placed = False

    # What is shown

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows; those that look as before are not drawn again."""
        current = self.current
        top = self.scroll_offset.y
        held = self.cursor - top
        self._rows = rows
        size = Size(self.scrollable_content_region.width, len(rows))

        if size != self.virtual_size:
            self.virtual_size = size

        at = self._index_of(current.key) if current is not None and current.key else None
        at = at if self._is_placed else 0
        self._put(self.cursor if at is None else at)

        if at is not None and at - held != top and top > 0:
            self.scroll_to(y=max(0, at - held), animate=False, immediate=True)

        self._follow()
        self._repaint_changed()

    def go_to(self, key: str) -> bool:
        """Put the cursor on a row; returns whether there is such a row."""
        at = self._index_of(key)

        if at is not None:
            self._is_placed = True
            self.cursor = at

        return at is not None

    def _index_of(self, key: str) -> int | None:
        keys = keys_of(self._rows)
        return keys.index(key) if key in keys else None

    # Drawing

    def render_line(self, y: int) -> Strip:
        index = self.scroll_offset.y + y
        width = self.size.width

        if not self._looks:
            self._looks = looks_of(self, "rows", "cursor")

        if index >= len(self._rows):
            self._drawn.pop(y, None)
            return Strip.blank(width, self.rich_style)

        parts = self._drawn[y] = self._rows[index].draw(width)
        strip = Strip(
            [Segment(text, self._looks.get(look, self.rich_style)) for text, look in parts]
        )
        strip = strip.adjust_cell_length(width, self.rich_style)

        if index == self.cursor and self._rows[index].key:
            strip = strip.apply_style(self._looks["cursor"])

        return strip.apply_offsets(0, index)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._looks = {}
        self.refresh()

    def _repaint_changed(self) -> None:
        top, width = self.scroll_offset.y, self.size.width

        for y in range(self.size.height):
            index = top + y
            drawn = self._drawn.get(y)
            new = self._rows[index].draw(width) if index < len(self._rows) else None

            if new is None or drawn is None or list(drawn) != list(new):
                self.refresh(Region(0, y, width, 1))

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        self._drawn.clear()

    def on_resize(self) -> None:
        self._drawn.clear()
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows))
        self._follow()

    # The cursor

    def watch_cursor(self, old: int, new: int) -> None:
        top, width = self.scroll_offset.y, self.size.width
        self.refresh(Region(0, old - top, width, 1), Region(0, new - top, width, 1))
        self._follow()
        self.post_message(self.Moved())

    def _put(self, index: int) -> None:
        """Put the cursor at a row that can hold it, the next one below or else above."""
        last = len(self._rows) - 1

        if last < 0:
            self.cursor = 0
            return

        index = max(0, min(index, last))
        below = next((n for n in range(index, last + 1) if self._rows[n].key), None)
        above = next((n for n in range(index, -1, -1) if self._rows[n].key), None)
        found = below if below is not None else above
        self.cursor = index if found is None else found

    def _follow(self) -> None:
        """Scroll so far that the cursor is seen, with the heading above the first row."""
        height, top = self.size.height, self.scroll_offset.y

        if height <= 0:
            return

        first = next((n for n, key in enumerate(keys_of(self._rows)) if key), 0)

        if self.cursor <= first:
            self.scroll_to(y=0, animate=False, immediate=True)
        elif self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def _can_hold(self, index: int) -> bool:
        return bool(self._rows[index].key)

    def action_move(self, by: int) -> None:
        at = self.cursor + by

        while 0 <= at < len(self._rows) and not self._can_hold(at):
            at += by

        self._is_placed = True

        if 0 <= at < len(self._rows):
            self.cursor = at
        elif by:
            # Nothing to stop at, but perhaps something to read.
            self.scroll_relative(y=by, animate=False, immediate=True)

    def action_edge(self, end: int) -> None:
        self._is_placed = bool(end)
        self._put(len(self._rows) - 1 if end else 0)
        self.scroll_to(y=self.max_scroll_y if end else 0, animate=False, immediate=True)

    def action_page(self, by: int) -> None:
        self._is_placed = True
        self._put(self.cursor + by * max(1, self.size.height - 1))

    def action_choose(self) -> None:
        row = self.current

        if row is not None:
            self.post_message(self.Chosen(row))

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y

        if index < len(self._rows) and self._can_hold(index):
            if index == self.cursor:
                self.action_choose()

            self._is_placed = True
            self.cursor = index
