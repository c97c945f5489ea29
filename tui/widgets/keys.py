"""The last line: the keys that work here; a click on one presses it.

Textual's own `Footer` creates a widget for each key whenever the view changes, which takes longer than
the rest of the change.
"""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget


class Keys(Widget, can_focus=False):
    """The active bindings that are meant to be shown, one for each action."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"keys--key", "keys--text"}

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[tuple[Binding, bool], ...] = ()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _changed(self, screen: Screen[object]) -> None:
        if not (self.is_attached and screen is self.screen and self.app.app_focus):
            return

        first: dict[str, tuple[Binding, bool]] = {}

        for _, binding, enabled, _ in screen.active_bindings.values():
            if binding.show:
                first.setdefault(binding.action, (binding, enabled))

        shown = tuple(first.values())

        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def render_line(self, y: int) -> Strip:
        if y:
            return Strip.blank(self.size.width, self.rich_style)

        key, text = (self.get_component_rich_style(f"keys--{name}") for name in ("key", "text"))
        segments = []

        for binding, enabled in self._shown:
            segments += [
                Segment(self.app.get_key_display(binding), key if enabled else text),
                Segment(f" {binding.description}", text),
                Segment(" ", self.rich_style),
            ]

        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        end = 0

        for binding, enabled in self._shown:
            end += cell_len(f"{self.app.get_key_display(binding)} {binding.description} ")

            if event.x < end:
                if enabled:
                    self.app.simulate_key(binding.key)
                else:
                    self.app.bell()

                return
