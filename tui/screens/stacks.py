"""One tree from the driver to the collectives; ranks with equal stacks appear once."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.tui.messages import AskStacks
from dsray_inspect.tui.panels.stack_tree import StackTree
from dsray_inspect.tui.rows import Row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.targets import ViewName
from dsray_inspect.tui.view_state import ViewState


class StacksView(View):
    VIEW: ClassVar[ViewName | None] = "stacks"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "toggle_all_frames", "all frames"),
        Binding("n", "ask_stacks(True)", "native"),
        Binding("l", "ask_stacks(False)", "locals", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shows_all_frames = False

    def rows(self, snapshot: Snapshot, _view_state: ViewState) -> list[Row]:
        return StackTree(snapshot, self.toggled, shows_all_frames=self._shows_all_frames).rows()

    def action_toggle_all_frames(self) -> None:
        self._shows_all_frames = not self._shows_all_frames
        self.toggled.clear()
        self.update_view()

    def action_ask_stacks(self, native: bool) -> None:
        self.app.post_message(AskStacks(self._current_ranks(), native=native))

    def _current_ranks(self) -> tuple[int, ...]:
        """Return the ranks of the row under the cursor, or the culprits if it has none."""
        current, snapshot = self.list.current, self.state.view_state.shown

        if current is not None and current.ranks:
            return current.ranks

        return snapshot.verdict.ranks[:4] if snapshot is not None else ()
