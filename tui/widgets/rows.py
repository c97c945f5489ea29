"""A list of rows with a cursor, of which only visible rows that have changed are drawn."""

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

from dsray_inspect.tui.rows import STYLE_NAMES, Part, Row, keys_of
from dsray_inspect.tui.widgets.styles import styles_of


class Rows(ScrollView, can_focus=True):
    """Shows rows; the cursor follows its row's key when rows are reordered.

    Until the user moves it, the cursor stays on the first row, which is the most important one.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"rows--{name}" for name in (*STYLE_NAMES, "cursor")}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False),
        Binding("k,up", "move(-1)", "up", show=False),
        Binding("g,home", "edge(0)", "top", show=False),
        Binding("G,end", "edge(1)", "end", show=False),
        Binding("pagedown,ctrl+d,ctrl+f", "page(1)", "page down", show=False),
        Binding("pageup,ctrl+u,ctrl+b", "page(-1)", "page up", show=False),
        Binding("enter", "open", "open"),
        Binding("space", "open", "open", show=False),
    ]
    cursor = reactive(0, repaint=False)

    class Opened(Message):
        """Enter was pressed on a row, or the row under the cursor was clicked."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    class Moved(Message):
        """The cursor moved to another row."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: Sequence[Row] = ()
        self._drawn: dict[int, Sequence[Part]] = {}
        self._styles: dict[str, Style] = {}
        self._was_moved = False

    # What is shown

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows; those that have not changed are not redrawn."""
        current = self.current
        top = self.scroll_offset.y
        cursor_line = self.cursor - top
        self._rows = rows
        size = Size(self.scrollable_content_region.width, len(rows))

        if size != self.virtual_size:
            self.virtual_size = size

        index = self._index_of(current.key) if current is not None and current.key else None
        index = index if self._was_moved else 0
        self._place_cursor(self.cursor if index is None else index)

        if index is not None and index - cursor_line != top and top > 0:
            self.scroll_to(y=max(0, index - cursor_line), animate=False, immediate=True)

        self._scroll_to_cursor()
        self._repaint_changed()

    def go_to(self, key: str) -> bool:
        """Put the cursor on a row; returns whether there is such a row."""
        index = self._index_of(key)

        if index is not None:
            self._was_moved = True
            self.cursor = index

        return index is not None

    def _index_of(self, key: str) -> int | None:
        keys = keys_of(self._rows)
        return keys.index(key) if key in keys else None

    # Drawing

    def render_line(self, y: int) -> Strip:
        index = self.scroll_offset.y + y
        width = self.size.width

        if not self._styles:
            self._styles = styles_of(self, "rows", "cursor")

        if index >= len(self._rows):
            self._drawn.pop(y, None)
            return Strip.blank(width, self.rich_style)

        parts = self._drawn[y] = self._rows[index].draw(width)
        strip = Strip(
            [Segment(text, self._styles.get(style, self.rich_style)) for text, style in parts]
        )
        strip = strip.adjust_cell_length(width, self.rich_style)

        if index == self.cursor and self.can_focus and self._rows[index].key:
            # Over the styles of the segments, each of which has a background of its own.
            cursor = Style(bgcolor=self._styles["cursor"].bgcolor)
            strip = Strip(Segment.apply_style(strip, post_style=cursor), width)

        return strip.apply_offsets(0, index)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}
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
        self._scroll_to_cursor()

    # The cursor

    def watch_cursor(self, old: int, new: int) -> None:
        top, width = self.scroll_offset.y, self.size.width
        self.refresh(Region(0, old - top, width, 1), Region(0, new - top, width, 1))
        self._scroll_to_cursor()
        self.post_message(self.Moved())

    def _place_cursor(self, index: int) -> None:
        """Put the cursor on the nearest row with a key, preferably at or below an index."""
        last = len(self._rows) - 1

        if last < 0:
            self.cursor = 0
            return

        index = max(0, min(index, last))
        below = next((n for n in range(index, last + 1) if self._rows[n].key), None)
        above = next((n for n in range(index, -1, -1) if self._rows[n].key), None)
        nearest = below if below is not None else above
        self.cursor = index if nearest is None else nearest

    def _scroll_to_cursor(self) -> None:
        """Scroll until the cursor is visible; at the first row, until the heading above it is."""
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

    def _has_key(self, index: int) -> bool:
        return bool(self._rows[index].key)

    def action_move(self, by: int) -> None:
        index = self.cursor + by

        while 0 <= index < len(self._rows) and not self._has_key(index):
            index += by

        self._was_moved = True

        if 0 <= index < len(self._rows):
            self.cursor = index
        else:
            # No row to stop at, but there may be text to read.
            self.scroll_relative(y=by, animate=False, immediate=True)

    def action_edge(self, end: int) -> None:
        self._was_moved = bool(end)
        self._place_cursor(len(self._rows) - 1 if end else 0)
        self.scroll_to(y=self.max_scroll_y if end else 0, animate=False, immediate=True)

    def action_page(self, by: int) -> None:
        self._was_moved = True
        self._place_cursor(self.cursor + by * max(1, self.size.height - 1))

    def action_open(self) -> None:
        row = self.current

        if row is not None:
            self.post_message(self.Opened(row))

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y

        if index < len(self._rows) and self._has_key(index):
            if index == self.cursor:
                self.action_open()

            self._was_moved = True
            self.cursor = index
