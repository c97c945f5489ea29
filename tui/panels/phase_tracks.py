"""The phases of each rank over the window: a strip of letters for each rank."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from dsray_inspect.agent.model import Phase, Snapshot, Worker
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.tui.drawing import STRIP_LEFT, STRIP_RIGHT, phase_strip
from dsray_inspect.tui.memo import cache_latest
from dsray_inspect.tui.rank_status import RankStatus, rank_statuses
from dsray_inspect.tui.rows import Part, Row
from dsray_inspect.tui.targets import RankTarget

MAX_TRACKS: Final = 256
_MAX_LAG: Final = 1
"""A rank that is more steps behind than this is listed first, and its step is marked."""


class ForemostRank(NamedTuple):
    """A rank that has a track; those in trouble come first, then those behind, then by number."""

    priority: int
    order: int
    rank: int
    steps_behind: int
    worker: Worker


class Track(NamedTuple):
    """A rank over the window."""

    worker: Worker
    status: RankStatus
    phases: tuple[Phase | None, ...]
    """The phase at each snapshot; None where the rank was absent."""
    restarts: frozenset[int]
    """The snapshots at which the rank had a new process."""
    steps_behind: int


def track_rows(tracks: Sequence[Track], shown: Sequence[Snapshot], per_cell: int = 1) -> list[Row]:
    """Return an axis and a row for each track; `per_cell` snapshots make one cell."""
    axis = Row("", partial(_draw_axis, shown, per_cell))
    return [axis, *(_track_row(track, per_cell) for track in tracks)]


def shown_snapshots(past: Sequence[Snapshot], width: int, per_cell: int = 1) -> Sequence[Snapshot]:
    """Return the snapshots of the window for which there is room."""
    return past[-_room(width) * per_cell :]


def _room(width: int) -> int:
    return max(8, width - STRIP_LEFT - STRIP_RIGHT)


@cache_latest
def foremost_ranks(snapshot: Snapshot) -> list[ForemostRank]:
    """Return the ranks that have tracks, in order."""
    by_actor = rank_statuses(snapshot)
    workers = snapshot.workers
    top = max((worker.step for worker in workers if worker.step is not None), default=0)
    ranks = []

    for worker in workers:
        if worker.rank is not None:
            behind = top - worker.step if worker.step is not None else 0
            order = -behind if behind > _MAX_LAG else 0
            priority = by_actor[worker.actor_id].priority
            ranks.append(ForemostRank(priority, order, worker.rank, behind, worker))

    return heapq.nsmallest(MAX_TRACKS, ranks, key=lambda each: each[:3])


def tracks_of(snapshot: Snapshot, shown: Sequence[Snapshot]) -> list[Track]:
    """Return the track of each rank, or of the foremost of very many."""
    by_actor = rank_statuses(snapshot)
    positions = {worker.rank: position for position, worker in enumerate(snapshot.workers)}
    tracks = []

    for foremost in foremost_ranks(snapshot):
        rank, worker = foremost.rank, foremost.worker
        own = [_worker_of(each, rank, positions[rank]) for each in shown]
        phases = tuple(each.phase if each is not None else None for each in own)
        restarts = _restarts([each.pid if each is not None else None for each in own])
        status = by_actor[worker.actor_id]
        tracks.append(Track(worker, status, phases, restarts, foremost.steps_behind))

    return tracks


def _worker_of(snapshot: Snapshot, rank: int, position: int) -> Worker | None:
    """Return a rank; in most snapshots it is at the same position as in the present one."""
    workers = snapshot.workers

    if position < len(workers) and workers[position].rank == rank:
        return workers[position]

    return next((worker for worker in workers if worker.rank == rank), None)


def _restarts(pids: Sequence[int | None]) -> frozenset[int]:
    """Return the snapshots in which a rank has another process than when it was last seen."""
    restarts = set()
    last: int | None = None

    for number, pid in enumerate(pids):
        if pid is not None and last is not None and pid != last:
            restarts.add(number)

        last = pid if pid is not None else last

    return frozenset(restarts)


def _draw_axis(shown: Sequence[Snapshot], per_cell: int, width: int) -> list[Part]:
    """Return the line above the tracks: how far back they reach."""
    if not shown:
        return []

    span_s = shown[-1].taken_at - shown[0].taken_at
    used = min(_room(width), -(-len(shown) // per_cell))
    text = f"-{duration(span_s)} " if span_s else ""
    zoom = f"  {per_cell} samples/cell" if per_cell > 1 else ""
    return [
        (" " * STRIP_LEFT, ""),
        (f"{text:<{max(0, used - 3)}}now", "dim"),
        (f"{zoom:<{STRIP_RIGHT}}", "dim"),
    ]


def _track_row(track: Track, per_cell: int) -> Row:
    worker = track.worker
    text = f"rank {worker.rank} {worker.hostname} {worker.phase} {track.status.word}"
    target = RankTarget(worker.actor_id)
    ranks = () if worker.rank is None else (worker.rank,)
    draw = partial(_draw_track, track, per_cell)
    return Row(worker.actor_id, draw, target, text, ranks=ranks)


def _draw_track(track: Track, per_cell: int, width: int) -> list[Part]:
    worker, status = track.worker, track.status
    room = _room(width)
    cells = phase_strip(track.phases, room, per_cell=per_cell, restarts=track.restarts)
    used = sum(len(text) for text, _ in cells)
    step = "step –" if worker.step is None else f"step {worker.step}"
    lag = f" -{track.steps_behind}" if track.steps_behind else ""
    return [
        (f" {status.symbol} ", status.style),
        (f"rank {worker.rank:<5}", "bold"),
        (" │ ", "dim"),
        *cells,
        (" " * max(0, min(room, -(-len(track.phases) // per_cell)) - used) + "│ ", "dim"),
        (f"{step}{lag}", "warning" if track.steps_behind > _MAX_LAG else ""),
        (f"  {status.word}", status.style),
    ]
