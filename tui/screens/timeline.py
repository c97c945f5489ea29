"""What each rank did over the window: a letter for each phase, so that stragglers stand out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.agent.text.startup import SHOWN_S, WORDS, spending, total_of
from dsray_inspect.tui.drawing import PHASE_LETTERS, STRIP_LEFT
from dsray_inspect.tui.panels.phase_tracks import (
    MAX_TRACKS,
    Track,
    shown_snapshots,
    track_rows,
    tracks_of,
)
from dsray_inspect.tui.panels.recorder_history import history_rows
from dsray_inspect.tui.rows import Part, Row, StyleName, blank, heading, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.targets import ViewName
from dsray_inspect.tui.throughput import chart, step_rates
from dsray_inspect.tui.view_state import ViewState

_ZOOMS: Final = (1, 2, 5, 10, 30)
"""Snapshots in a cell."""
_MAX_POSITIONS: Final = 12
_STARTUP_BAR: Final = 24


class TimelineView(View):
    VIEW: ClassVar[ViewName | None] = "timeline"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(-1)", "zoom", key_display="+/-"),
        Binding("minus", "zoom(1)", "zoom out", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._zoom = 0

    def rows(self, snapshot: Snapshot, view_state: ViewState) -> list[Row]:
        per_cell = _ZOOMS[self._zoom]
        shown = shown_snapshots(view_state.past, self.size.width, per_cell)
        tracks = tracks_of(snapshot, shown)
        hidden = len(snapshot.workers) - len(tracks)
        more = [row("", (f"   … and {hidden} more ranks", "dim"))] if hidden > 0 else []
        return [
            *track_rows(tracks, shown, per_cell),
            *more,
            blank(),
            *_rate_row(shown, per_cell),
            *_position_rows(snapshot),
            *_startup_rows(snapshot),
            _legend(tracks),
            *history_rows(view_state.history),
        ]

    def action_zoom(self, by: int) -> None:
        self._zoom = max(0, min(len(_ZOOMS) - 1, self._zoom + by))
        self.update_view()


def _rate_row(shown: Sequence[Snapshot], per_cell: int) -> list[Row]:
    rates = step_rates(shown)
    known = [rate for rate in rates if rate is not None]

    if not known:
        return []

    means = [_mean(rates[start : start + per_cell]) for start in range(0, len(rates), per_cell)]
    return [
        row(
            "",
            (f" {'steps/s':<{STRIP_LEFT - 3}}", "dim"),
            ("│ ", "dim"),
            (chart(means, len(means)), "accent"),
            (f" │ max {max(known):.1f}" if any(known) else " │ no step", "dim"),
        )
    ]


def _mean(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


def _position_rows(snapshot: Snapshot) -> list[Row]:
    """Return the newest collective of each rank, for groups whose ranks are at different ones."""
    by_group: dict[str, dict[int, tuple[int, str, bool]]] = {}

    for worker in snapshot.workers if len(snapshot.workers) <= MAX_TRACKS else ():
        if worker.rank is None:
            continue

        for collective in worker.collectives:
            newest = by_group.setdefault(collective.group, {})
            known = newest.get(worker.rank)

            if known is None or collective.sequence > known[0]:
                newest[worker.rank] = (
                    collective.sequence,
                    collective.operation,
                    collective.finished,
                )

    rows: list[Row] = []

    for group, newest in sorted(by_group.items()):
        if len({sequence for sequence, _, _ in newest.values()}) > 1:
            rows.append(heading(f"collectives of group {group}", "ranks are at different ones"))
            in_order = sorted(newest.items(), key=lambda item: (item[1][0], item[0]))
            rows += [_position_row(rank, *at) for rank, at in in_order[:_MAX_POSITIONS]]

    return [*rows, blank()] if rows else []


def _position_row(rank: int, sequence: int, operation: str, finished: bool) -> Row:
    style: StyleName = "dim" if finished else "collective"
    state = "left it, and has entered none since" if finished else "waits in it"
    return row(
        "",
        (f"   rank {rank:<8}", "bold"),
        (f"#{sequence} {operation:<16}", style),
        (state, "dim"),
    )


def _startup_rows(snapshot: Snapshot) -> list[Row]:
    """Return how long each part of the start-up took, and what else was not training."""
    startup = snapshot.startup

    if startup is None:
        return []

    merged: dict[str, float] = {}

    for part in startup.parts:
        merged[WORDS[part.name]] = merged.get(WORDS[part.name], 0.0) + part.seconds

    longest_s = max(merged.values(), default=0.0) or 1.0
    rows = [heading("start-up", total_of(startup))]
    rows += [
        row(
            "",
            (f"   {word:<26}", ""),
            (f"{duration(seconds):>12}  ", "bold"),
            ("█" * round(_STARTUP_BAR * seconds / longest_s), "accent"),
        )
        for word, seconds in merged.items()
        if seconds >= SHOWN_S
    ]
    spent = " · ".join(spending({cost.name: cost for cost in snapshot.costs}))
    rows += [row("", (f"   cost: {spent}", ""))] if spent else []
    rows += [row("", (f"   {note}", "dim")) for note in startup.notes]
    return [*rows, blank()]


def _legend(tracks: Sequence[Track]) -> Row:
    """Return the meaning of the letters on the screen."""
    seen = {phase for track in tracks for phase in track.phases if phase is not None}
    parts: list[Part] = [(" ", "")]

    for phase, (letter, style) in PHASE_LETTERS.items():
        if phase in seen:
            parts += [(letter, style), (f" {phase}  ", "dim")]

    return row("", *parts)
