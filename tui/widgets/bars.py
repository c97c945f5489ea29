"""The bars around a view: location, verdict, notices, and the tabs of the views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from dsray_inspect.tui.rows import STYLE_NAMES, Part, StyleName, width_of
from dsray_inspect.tui.targets import ViewName
from dsray_inspect.tui.widgets.styles import styles_of


class Bar(Widget):
    """Lines of styled text across the whole width."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"bar--{name}" for name in STYLE_NAMES}

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: Sequence[Sequence[Part]] = ()
        self._styles: dict[str, Style] = {}

    def show(self, lines: Sequence[Sequence[Part]]) -> None:
        """Show these lines; nothing is drawn if they are the same as before."""
        if list(lines) != list(self._lines):
            has_other_height = len(lines) != len(self._lines)
            self._lines = lines
            self.refresh(layout=has_other_height)

    @property
    def lines(self) -> Sequence[Sequence[Part]]:
        return self._lines

    def get_content_height(self, _container: Size, _viewport: Size, _width: int) -> int:
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        width = self.size.width

        if y >= len(self._lines):
            return Strip.blank(width, self.rich_style)

        if not self._styles:
            self._styles = styles_of(self, "bar")

        segments = [Segment(text, self._styles[style]) for text, style in self._lines[y]]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}
        self.refresh()


class Tabs(Bar):
    """The views by number and title; a click opens one."""

    class Picked(Message):
        def __init__(self, view: ViewName) -> None:
            super().__init__()
            self.view = view

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._ends: list[tuple[int, ViewName]] = []
        """The column at which each tab ends."""

    def show_views(
        self, views: Sequence[tuple[ViewName, str, StyleName]], current: ViewName | None
    ) -> None:
        """Show each view's number and title, and mark the current one."""
        parts: list[Part] = []
        self._ends = []

        for number, (view, title, style) in enumerate(views, 1):
            is_current = view == current
            mark = "▸" if is_current else " "
            parts.append((f"{mark}{number} {title} ", "head" if is_current else style))
            self._ends.append((width_of(parts), view))

        self.show([parts])

    def on_click(self, event: events.Click) -> None:
        view = next((view for end, view in self._ends if event.x < end), None)

        if view is not None:
            self.post_message(self.Picked(view))
