"""The ranks over time: in which state each of them was in each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from dsray_inspect.agent.model import Record, Snapshot, Worker
from dsray_inspect.agent.report.document import Moment, RankState, Track
from dsray_inspect.agent.report.intervals import intervals

_MOST_MOMENTS: Final = 120
_MOST_SINGLE: Final = 32
"""Of more ranks, those with the same states share a track."""
_MOST_TRACKS: Final = 64
_RankKey = int | str
"""A rank, or the actor of a rank that is not known."""
_ItemT = TypeVar("_ItemT")
_NumberT = TypeVar("_NumberT", int, float)


class Tracks(Record, frozen=True, kw_only=True):
    """The timeline of a report."""

    moments: tuple[Moment, ...]
    states: tuple[RankState, ...]
    tracks: tuple[Track, ...]
    hidden_ranks: int


def tracks_of(snapshots: Sequence[Snapshot]) -> Tracks:
    """Return the ranks over at most so many moments as a page can show."""
    chosen = [snapshots[number] for number in _worth_showing(snapshots)]
    shown = [{_key(worker): worker for worker in snapshot.workers} for snapshot in chosen]
    numbers: dict[RankState, int] = {}
    states = {key: _states(key, shown, numbers) for key in _every_key(shown)}
    blamed = {rank for snapshot in snapshots for rank in snapshot.verdict.ranks}
    groups = _grouped(states, blamed)
    tracks = [_track(keys, states[keys[0]], shown, blamed) for keys in groups[:_MOST_TRACKS]]
    return Tracks(
        moments=_moments(chosen),
        states=tuple(numbers),
        tracks=tuple(tracks),
        hidden_ranks=sum(map(len, groups[_MOST_TRACKS:])),
    )


def _worth_showing(snapshots: Sequence[Snapshot]) -> list[int]:
    """Return the numbers of the samples to show: evenly spread, and where the verdict changes."""
    last = len(snapshots) - 1

    if last < _MOST_MOMENTS:
        return list(range(last + 1))

    changes = [
        number
        for number in range(1, last)
        if snapshots[number].verdict.differs_from(snapshots[number - 1].verdict)
    ][: _MOST_MOMENTS // 2]
    spread = _MOST_MOMENTS - len(changes)
    return sorted({*changes, *(round(n * last / (spread - 1)) for n in range(spread))})


def _moments(snapshots: Sequence[Snapshot]) -> tuple[Moment, ...]:
    times = intervals([snapshot.taken_at for snapshot in snapshots])
    return tuple(
        Moment(at=snapshot.taken_at, from_at=since, until_at=until, verdict=snapshot.verdict)
        for snapshot, (since, until) in zip(snapshots, times, strict=True)
    )


def _key(worker: Worker) -> _RankKey:
    return worker.actor_id if worker.rank is None else worker.rank


def _every_key(shown: Sequence[Mapping[_RankKey, Worker]]) -> list[_RankKey]:
    keys = {key for workers in shown for key in workers}
    return sorted(keys, key=lambda key: (isinstance(key, str), key))


def _states(
    key: _RankKey, shown: Sequence[Mapping[_RankKey, Worker]], numbers: dict[RankState, int]
) -> tuple[int | None, ...]:
    workers = (workers.get(key) for workers in shown)
    return tuple(
        None if worker is None else numbers.setdefault(_state(worker), len(numbers))
        for worker in workers
    )


def _state(worker: Worker) -> RankState:
    function = worker.function
    return RankState(
        state=worker.state,
        phase=worker.phase,
        function=function.name if function else "",
        place=f"{function.file.rpartition('/')[2]}:{function.line}" if function else "",
    )


def _grouped(
    states: Mapping[_RankKey, tuple[int | None, ...]], blamed: set[int]
) -> list[list[_RankKey]]:
    """Return which ranks share a track, those to blame first where not all have their own."""
    if len(states) <= _MOST_SINGLE:
        return [[key] for key in states]

    groups: dict[tuple[bool, tuple[int | None, ...]], list[_RankKey]] = {}

    for key, track in states.items():
        groups.setdefault((key not in blamed, track), []).append(key)

    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1])))
    return [keys for _, keys in ordered]


def _track(
    keys: Sequence[_RankKey],
    states: tuple[int | None, ...],
    shown: Sequence[Mapping[_RankKey, Worker]],
    blamed: set[int],
) -> Track:
    there = [[workers[key] for key in keys if key in workers] for workers in shown]
    newest = {_key(worker): worker for workers in there for worker in workers}
    workers = [newest[key] for key in keys]
    return Track(
        ranks=tuple(worker.rank for worker in workers),
        hosts=_distinct([worker.hostname or worker.node_ip for worker in workers]),
        gpus=_distinct([gpu.slot for worker in workers for gpu in worker.gpus]),
        pids=_distinct([worker.pid for worker in workers if worker.pid]),
        is_blamed=keys[0] in blamed,
        states=states,
        steps=tuple(_least([worker.step for worker in seen]) for seen in there),
        idle_s=tuple(_least([worker.idle_s for worker in seen]) for seen in there),
    )


def _distinct(items: Sequence[_ItemT]) -> tuple[_ItemT, ...]:
    return tuple(dict.fromkeys(items))


def _least(values: Sequence[_NumberT | None]) -> _NumberT | None:
    return min((value for value in values if value is not None), default=None)
