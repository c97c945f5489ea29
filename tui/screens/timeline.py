"""What each rank did, look by look: a letter a phase, so that stragglers stand out."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType

from dsray_inspect.agent.model import Phase, Snapshot, Worker
from dsray_inspect.agent.stacks.memo import of_newest
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.agent.text.startup import SHOWN_S, WORDS, spending, total_of
from dsray_inspect.tui.rank_status import RankStatus, standings
from dsray_inspect.tui.rows import Look, Part, Row, blank, heading, joined, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.history import LEFT, RIGHT, history_rows
from dsray_inspect.tui.throughput import chart, paces
from dsray_inspect.tui.view_state import ViewState

LETTERS: Mapping[Phase, tuple[str, Look]] = {
    "starting": ("s", "accent"),
    "init_process_group": ("i", "accent"),
    "deepspeed_init": ("D", "accent"),
    "op_compile": ("C", "accent"),
    "data": ("d", "warm"),
    "forward": ("f", "success"),
    "backward": ("b", "cool"),
    "grad_reduce": ("r", "collective"),
    "zero_gather": ("g", "collective"),
    "optimizer_step": ("o", "deepspeed"),
    "checkpoint": ("k", "warning"),
    "report": ("p", "warning"),
    "collective": ("c", "collective"),
    "user": ("u", "user"),
    "finished": ("·", "dim"),
    "unknown": ("?", "dim"),
}
NOT_THERE: Part = (" ", "dim")
RESTARTED: Part = ("↻", "warning")
ZOOMS = (1, 2, 5, 10, 30)
HIGH_LAG = 1
MOST_TRACKS = 256


class Track(NamedTuple):
    """One rank through the window; None where a look did not have it."""

    worker: Worker
    standing: RankStatus
    phases: tuple[Phase | None, ...]
    restarts: frozenset[int]
    behind: int
    """Steps behind the first rank."""


class TimelineView(View):
    VIEW: ClassVar[str] = "timeline"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(-1)", "zoom", key_display="+/-"),
        Binding("minus", "zoom(1)", "zoom out", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._zoom = 0

    def rows(self, snapshot: Snapshot, story: ViewState) -> list[Row]:
        rows = timeline(snapshot, story.past, self.size.width, ZOOMS[self._zoom])
        return [*rows, *history_rows(story.history)]

    def action_zoom(self, by: int) -> None:
        self._zoom = max(0, min(len(ZOOMS) - 1, self._zoom + by))
        self.update_view()


def timeline(snapshot: Snapshot, past: Sequence[Snapshot], width: int, each: int) -> list[Row]:
    """Return the rows of the whole view; `each` looks make one cell."""
    cells = max(8, width - LEFT - RIGHT)
    shown = past[-cells * each :]
    tracks = tracks_of(snapshot, shown)
    rows = [Row("", partial(axis, shown, each))]
    rows += [track_row(track, each) for track in tracks]
    hidden = len(snapshot.workers) - len(tracks)
    rows += [row("", (f"   … and {hidden} more ranks", "dim"))] if hidden > 0 else []
    rows += [blank(), *pace_row(shown, each), *sequence_rows(snapshot), *startup_rows(snapshot)]
    return [*rows, legend(tracks)]


def axis(shown: Sequence[Snapshot], each: int, width: int) -> list[Part]:
    """Return the line above the strips: how far back they reach."""
    if not shown:
        return []

    span_s = shown[-1].taken_at - shown[0].taken_at
    room = max(8, width - LEFT - RIGHT)
    used = min(room, -(-len(shown) // each))
    text = f"-{duration(span_s)} " if span_s else ""
    zoom = f"  {each} looks a cell" if each > 1 else ""
    return [
        (" " * LEFT, ""),
        (f"{text:<{max(0, used - 3)}}now", "dim"),
        (f"{zoom:<{RIGHT}}", "dim"),
    ]


@of_newest
def foremost(snapshot: Snapshot) -> list[tuple[int, int, int, int, Worker]]:
    """Return the ranks that have tracks, those in trouble first, then those behind.

    Each as what it is sorted by, its rank, how far it is behind, and the rank itself.
    """
    by_actor = standings(snapshot)
    ahead = max((one.step for one in snapshot.workers if one.step is not None), default=0)
    ranked = [
        (by_actor[one.actor_id].trouble, -behind if behind > HIGH_LAG else 0, one.rank, behind, one)
        for one in snapshot.workers
        if one.rank is not None
        and (behind := ahead - one.step if one.step is not None else 0) is not None
    ]
    return heapq.nsmallest(MOST_TRACKS, ranked, key=lambda one: one[:3])


def tracks_of(snapshot: Snapshot, shown: Sequence[Snapshot]) -> list[Track]:
    """Return a track a rank; the first of very many."""
    by_actor, first = standings(snapshot), foremost(snapshot)
    places = {one.rank: place for place, one in enumerate(snapshot.workers)}
    tracks = []

    for _, _, rank, behind, worker in first:
        own = [rank_in(look, rank, places[rank]) for look in shown]
        restarts = restarts_in([one.pid if one is not None else None for one in own])
        phases = tuple(one.phase if one is not None else None for one in own)
        tracks.append(Track(worker, by_actor[worker.actor_id], phases, restarts, behind))

    return tracks


def rank_in(look: Snapshot, rank: int, place: int) -> Worker | None:
    """Return a rank in a look, most likely where it stands in another one."""
    workers = look.workers

    if place < len(workers) and workers[place].rank == rank:
        return workers[place]

    return next((one for one in workers if one.rank == rank), None)


def restarts_in(pids: Sequence[int | None]) -> frozenset[int]:
    """Return at which looks a rank has another process than it had last."""
    found = set()
    last: int | None = None

    for number, pid in enumerate(pids):
        if pid is not None and last is not None and pid != last:
            found.add(number)

        last = pid if pid is not None else last

    return frozenset(found)


def track_row(track: Track, each: int) -> Row:
    worker = track.worker
    text = f"rank {worker.rank} {worker.hostname} {worker.phase} {track.standing.word}"
    return Row(worker.actor_id, partial(drawn, track, each), f"rank:{worker.actor_id}", text)


def drawn(track: Track, each: int, width: int) -> list[Part]:
    worker, standing = track.worker, track.standing
    room = max(8, width - LEFT - RIGHT)
    cells = strip(track.phases, room, each=each, restarts=track.restarts)
    used = sum(len(text) for text, _ in cells)
    step = "step –" if worker.step is None else f"step {worker.step}"
    lag = f" -{track.behind}" if track.behind else ""
    return [
        (f" {standing.symbol} ", standing.look),
        (f"rank {worker.rank:<5}", "bold"),
        (" │ ", "dim"),
        *cells,
        (" " * max(0, min(room, -(-len(track.phases) // each)) - used) + "│ ", "dim"),
        (f"{step}{lag}", "warning" if track.behind > HIGH_LAG else ""),
        (f"  {standing.word}", standing.look),
    ]


def strip(
    phases: Sequence[Phase | None],
    room: int,
    *,
    each: int = 1,
    restarts: frozenset[int] = frozenset(),
) -> list[Part]:
    """Return phases as letters, equal ones in one part; a cell of several looks shows the most common."""
    first = max(0, len(phases) - room * each)
    return joined(
        RESTARTED
        if any(start <= one < start + each for one in restarts)
        else cell_of(phases[start : start + each])
        for start in range(first, len(phases), each)
    )


def cell_of(looks: Sequence[Phase | None]) -> Part:
    known = [one for one in looks if one is not None]

    if not known:
        return NOT_THERE

    return LETTERS[max(known, key=known.count)]


def pace_row(shown: Sequence[Snapshot], each: int) -> list[Row]:
    rates = paces(shown)
    known = [one for one in rates if one is not None]

    if not known:
        return []

    means = [mean(rates[at : at + each]) for at in range(0, len(rates), each)]
    return [
        row(
            "",
            (f" {'steps/s':<{LEFT - 3}}", "dim"),
            ("│ ", "dim"),
            (chart(means, len(means)), "accent"),
            (f" │ {max(known):.1f} at most" if any(known) else " │ no step", "dim"),
        )
    ]


def mean(rates: Sequence[float | None]) -> float | None:
    known = [one for one in rates if one is not None]
    return sum(known) / len(known) if known else None


def sequence_rows(snapshot: Snapshot) -> list[Row]:
    """Return the newest collective of each group by rank, where the ranks are not at the same one."""
    by_group: dict[str, dict[int, tuple[int, str, bool]]] = {}

    for worker in snapshot.workers if len(snapshot.workers) <= MOST_TRACKS else ():
        for one in worker.collectives:
            at = by_group.setdefault(one.group, {})
            known = at.get(worker.rank if worker.rank is not None else -1)

            if worker.rank is not None and (known is None or one.sequence > known[0]):
                at[worker.rank] = (one.sequence, one.operation, one.finished)

    rows: list[Row] = []

    for group, at in sorted(by_group.items()):
        if len({sequence for sequence, _, _ in at.values()}) > 1:
            rows += [heading(f"collectives of group {group}", "not all ranks are at the same one")]
            order = sorted(at.items(), key=lambda pair: (pair[1][0], pair[0]))

            for rank, (sequence, operation, finished) in order[:12]:
                look: Look = "dim" if finished else "collective"
                state = "left it, and entered none since" if finished else "waits in it"
                rows.append(
                    row(
                        "",
                        (f"   rank {rank:<8}", "bold"),
                        (f"#{sequence} {operation:<16}", look),
                        (state, "dim"),
                    )
                )

    return [*rows, blank()] if rows else []


def startup_rows(snapshot: Snapshot) -> list[Row]:
    """Return what the start took, part by part, and what else was not training."""
    startup = snapshot.startup

    if startup is None:
        return []

    costs = {cost.name: cost for cost in snapshot.costs}
    merged: dict[str, float] = {}

    for part in startup.parts:
        merged[WORDS[part.name]] = merged.get(WORDS[part.name], 0.0) + part.seconds

    longest = max(merged.values(), default=0.0) or 1.0
    rows = [heading("start-up", total_of(startup))]
    rows += [
        row(
            "",
            (f"   {word:<26}", ""),
            (f"{duration(seconds):>12}  ", "bold"),
            ("█" * round(24 * seconds / longest), "accent"),
        )
        for word, seconds in merged.items()
        if seconds >= SHOWN_S
    ]
    spent = " · ".join(spending(costs))
    rows += [row("", (f"   cost: {spent}", ""))] if spent else []
    rows += [row("", (f"   {note}", "dim")) for note in startup.notes]
    return [*rows, blank()]


def legend(tracks: Sequence[Track]) -> Row:
    """Return what the letters mean, those that are seen."""
    seen = {phase for track in tracks for phase in track.phases if phase is not None}

    def draw(_width: int) -> list[Part]:
        parts: list[Part] = [(" ", "")]

        for phase, (letter, look) in LETTERS.items():
            if phase in seen:
                parts += [(letter, look), (f" {phase}  ", "dim")]

        return parts

    return Row("", draw)
