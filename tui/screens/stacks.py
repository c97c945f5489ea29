"""One tree from the driver to the collectives; ranks with equal stacks appear once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from dsray_inspect.agent.model import Snapshot
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

    def selected_ranks(self) -> Sequence[int]:
        """Return the ranks of the row under the cursor, or the culprits if it has none."""
        snapshot = self.state.view_state.shown
        return super().selected_ranks() or (snapshot.verdict.ranks if snapshot is not None else ())
