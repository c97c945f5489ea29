"""The lines around a view: where one is, the verdict, what to know, and the views there are."""

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

from dsray_inspect.agent.text.truncate import cut_end
from dsray_inspect.tui.rows import LOOKS, Look, Part, width_of
from dsray_inspect.tui.widgets.styles import looks_of


class Bar(Widget):
    """Lines of styled text over the whole width."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"bar--{look}" for look in LOOKS}

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: Sequence[Sequence[Part]] = ()
        self._looks: dict[str, Style] = {}

    def show(self, lines: Sequence[Sequence[Part]]) -> None:
        """Show these lines, unless they are shown already."""
        if list(lines) != list(self._lines):
            taller = len(lines) != len(self._lines)
            self._lines = lines
            self.refresh(layout=taller)

    @property
    def lines(self) -> Sequence[Sequence[Part]]:
        return self._lines

    def get_content_height(self, _container: Size, _viewport: Size, _width: int) -> int:
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        width = self.size.width

        if y >= len(self._lines):
            return Strip.blank(width, self.rich_style)

        if not self._looks:
            self._looks = looks_of(self, "bar")

        segments = [Segment(text, self._looks[look]) for text, look in self._lines[y]]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._looks = {}
        self.refresh()


class Tabs(Bar):
    """The views by number and name; a click opens one."""

    class Picked(Message):
        def __init__(self, view: str) -> None:
            super().__init__()
            self.view = view

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._ends: list[tuple[int, str]] = []

    def show_views(self, views: Sequence[tuple[str, str, Look]], current: str) -> None:
        """Show each view's number and title; a short form where the screen is narrow."""
        parts: list[Part] = []
        self._ends = []

        for number, (view, title, look) in enumerate(views, 1):
            here = view == current
            mark: Look = "head" if here else look
            parts.append((f"{'▸' if here else ' '}{number} {title} ", mark))
            self._ends.append((width_of(parts), view))

        self.show([parts])

    def on_click(self, event: events.Click) -> None:
        view = next((view for end, view in self._ends if event.x < end), None)

        if view is not None:
            self.post_message(self.Picked(view))


def both_ends(left: Sequence[Part], right: Sequence[Part], width: int) -> list[Part]:
    """Return parts at the left and the right of one line; the left gives way."""
    room = width - width_of(right) - 1
    shown: list[Part] = []

    for text, look in left:
        free = room - width_of(shown)

        if free > 0:
            shown.append((cut_end(text, free), look))

    return [*shown, (" " * max(1, width - width_of(shown) - width_of(right)), ""), *right]


def wrapped(text: str, width: int, most: int) -> list[str]:
    """Return a text in at most so many lines, broken between words."""
    lines: list[str] = []
    rest = text

    while rest and len(lines) < most - 1 and len(rest) > width:
        cut = rest.rfind(" ", 0, width + 1)
        cut = cut if cut > 0 else width
        lines.append(rest[:cut])
        rest = rest[cut:].lstrip()

    return [*lines, cut_end(rest, max(1, width))] if rest else lines or [""]
