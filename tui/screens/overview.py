"""The first view: every rank by node and GPU, those in trouble first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.containers import Horizontal

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.tui.panels.phase_tracks import shown_snapshots, track_rows, tracks_of
from dsray_inspect.tui.panels.rank_grid import grid
from dsray_inspect.tui.panels.rank_list import (
    draw_headings,
    node_row,
    ordered_ranks,
    rank_row,
)
from dsray_inspect.tui.panels.rank_page import RankPage, earlier_of
from dsray_inspect.tui.panels.summary import (
    deepspeed_rows,
    function_rows,
    process_rows,
    reason_rows,
    startup_row,
    throughput_rows,
)
from dsray_inspect.tui.rank_status import PENDING, rank_statuses
from dsray_inspect.tui.rows import LazyRows, Row, blank, keys_of, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.targets import RankTarget, ViewName
from dsray_inspect.tui.view_state import ViewState
from dsray_inspect.tui.widgets.rows import Rows

_MANY: Final = 96
"""A grid of all ranks stands above the list when there are more."""
_TWO_PANES: Final = 150
"""Columns from which the rank under the cursor is shown beside the list."""
_TALL: Final = 36
"""Lines from which strips of the timeline are shown below the list."""
_MAX_STRIPS: Final = 16
_FOLDED_IN_SIDE: Final = frozenset({"environment", "config", "evidence"})


class OverviewView(View):
    VIEW: ClassVar[ViewName | None] = "overview"

    def body(self) -> ComposeResult:
        with Horizontal():
            yield Rows(id="rows")
            yield Rows(id="side")

    def rows(self, snapshot: Snapshot, view_state: ViewState) -> Sequence[Row]:
        width = self.list.size.width or self.size.width
        rows = _overview_rows(snapshot, view_state.past, width)

        if self.size.height < _TALL or isinstance(rows, LazyRows):
            return rows

        return [*rows, *_strips(snapshot, view_state.past, width)]

    def on_mount(self) -> None:
        self.query_one("#side", Rows).can_focus = False
        super().on_mount()

    def on_rows_moved(self, message: Rows.Moved) -> None:
        message.stop()
        self.rows_updated()

    def rows_updated(self) -> None:
        """Show the rank under the cursor beside the list, if there is room."""
        side = self.query_one("#side", Rows)

        if side.display != (self.size.width >= _TWO_PANES):
            side.display = not side.display
            # The width of the list has changed.
            self.call_after_refresh(self.update_view)

        if side.display:
            self._show_side(side)

    def _show_side(self, side: Rows) -> None:
        current, view_state = self.current, self.state.view_state
        target, snapshot = current.target if current is not None else None, view_state.shown

        if not isinstance(target, RankTarget) or snapshot is None:
            return

        for worker in snapshot.workers:
            if worker.actor_id == target.actor_id:
                page = RankPage(
                    snapshot,
                    worker,
                    earlier_of(view_state.past, worker),
                    folded=_FOLDED_IN_SIDE,
                    width=side.size.width,
                    shows_all_frames=False,
                    is_live=self.state.source.is_live,
                )
                side.show(list(page.rows()))
                return

    def go_to_next_in_trouble(self) -> None:
        """Put the cursor on the first rank in trouble, or on the next one if it is on one."""
        snapshot = self.state.view_state.shown

        if snapshot is None or self.app.screen is not self:
            return

        by_actor = rank_statuses(snapshot)
        troubled = [
            key for key in keys_of(self.list.rows) if key in by_actor and by_actor[key].is_trouble
        ]
        current = self.current

        if not troubled:
            self.notify("No rank is in trouble.")
        elif current is not None and current.key in troubled:
            self.list.go_to(troubled[(troubled.index(current.key) + 1) % len(troubled)])
        else:
            self.list.go_to(troubled[0])


def _overview_rows(snapshot: Snapshot, past: Sequence[Snapshot], width: int) -> Sequence[Row]:
    if not snapshot.workers:
        return _rows_without_workers(snapshot, width)

    are_many = len(snapshot.workers) > _MANY
    cells = grid(snapshot, rank_statuses(snapshot), width) if are_many else []
    head = [*cells, Row("", draw_headings)]
    ranks = ordered_ranks(snapshot)
    tail = [blank(), *function_rows(snapshot), blank(), *reason_rows(snapshot, width)]
    tail += [*throughput_rows(past), *deepspeed_rows(snapshot)]
    tail += [*startup_row(snapshot, width), *process_rows(snapshot)]

    if are_many:
        keys = [listed.worker.actor_id for listed in ranks]
        return LazyRows(head, keys, lambda index: rank_row(ranks[index]), tail)

    return [*head, *map(rank_row, ranks), *tail]


def _strips(snapshot: Snapshot, past: Sequence[Snapshot], width: int) -> list[Row]:
    """Return the first strips of the timeline."""
    if len(past) < 2 or not snapshot.workers or len(snapshot.workers) > _MANY:
        return []

    shown = shown_snapshots(past, width)
    rows = track_rows(tracks_of(snapshot, shown)[:_MAX_STRIPS], shown)
    return [blank(), *(each._replace(key=f"strip {each.key}" if each.key else "") for each in rows)]


def _rows_without_workers(snapshot: Snapshot, width: int) -> list[Row]:
    waits_on = snapshot.controller.waiting_on if snapshot.controller else None
    has_ended = snapshot.job.has_ended
    text = "The workers have ended." if has_ended else f"{PENDING.symbol} No workers yet."
    rows = [row("", (f" {text}", "bold"))]

    if waits_on and not has_ended:
        rows.append(row("", (f"   The controller waits on {waits_on}.", "")))

    rows += [row("", (f"   {note}", "dim")) for note in snapshot.notes]
    rows += [blank(), *reason_rows(snapshot, width), *process_rows(snapshot)]
    return [*rows, blank(), *map(node_row, snapshot.nodes)]
