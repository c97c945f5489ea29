"""The wall clock of all ranks, folded by function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsray_inspect.agent.model import Frame, Snapshot
from dsray_inspect.agent.report.document import Flame, FlameFrame, FlameStack
from dsray_inspect.agent.report.intervals import intervals
from dsray_inspect.agent.stacks.frame_rules import path_of
from dsray_inspect.agent.stacks.merge import Folded, fold

_Functions = tuple[FlameFrame, ...]


def flame_of(snapshots: Sequence[Snapshot]) -> Flame:
    """Return how long the ranks were in which stack of functions.

    Each sample counts for the time up to half the way to the samples beside it.
    """
    weights = [until - since for since, until in intervals([s.taken_at for s in snapshots])]
    has_duration = sum(weights) > 0
    folded = _Folding()

    for snapshot, seconds in zip(snapshots, weights, strict=True):
        folded.add(snapshot, seconds if has_duration else 1 / len(snapshots))

    return folded.flame(has_duration=has_duration)


class _Folding:
    """Adds sample to sample; each distinct stack is put into functions once."""

    def __init__(self) -> None:
        self._functions: dict[tuple[Frame, ...], _Functions] = {}
        self._weights: dict[_Functions, float] = {}
        self._ranks: dict[_Functions, set[int]] = {}

    def add(self, snapshot: Snapshot, seconds: float) -> None:
        for functions, ranks in self._stacks(snapshot):
            self._weights[functions] = self._weights.get(functions, 0.0) + seconds * len(ranks)
            self._ranks.setdefault(functions, set()).update(ranks)

    def _stacks(self, snapshot: Snapshot) -> Iterator[tuple[_Functions, set[int]]]:
        """Yield each stack of training threads with its ranks, and those without a stack last."""
        left = {
            worker.rank
            for worker in snapshot.workers
            if worker.rank is not None and worker.state in ("alive", "stopped")
        }

        for group in snapshot.stacks.groups:
            ranks = left.intersection(group.ranks) if group.role == "worker" else set()

            if ranks:
                left -= ranks  # a rank has one training thread; it is read first
                yield self._functions_of(group.frames), ranks

        if left:
            yield (), left

    def _functions_of(self, frames: tuple[Frame, ...]) -> _Functions:
        known = self._functions.get(frames)

        if known is None:
            known = self._functions[frames] = tuple(_functions(frames))

        return known

    def flame(self, *, has_duration: bool) -> Flame:
        numbers: dict[FlameFrame, int] = {}
        stacks = [
            FlameStack(
                frames=tuple(numbers.setdefault(one, len(numbers)) for one in functions),
                ranks=tuple(sorted(self._ranks[functions])),
                weight=weight,
            )
            for functions, weight in self._weights.items()
        ]
        return Flame(
            unit="seconds" if has_duration else "ranks",
            frames=tuple(numbers),
            stacks=tuple(stacks),
        )


def _functions(frames: Sequence[Frame]) -> Iterator[FlameFrame]:
    """Yield the functions of a stack without what is in every stack of its kind."""
    shown = fold(frames)
    plumbing = [item for item in shown if isinstance(item, Folded) and item.plumbing]
    is_all = len(plumbing) == len(shown)

    for item in shown:
        for frame in item.frames if isinstance(item, Folded) else (item,):
            if is_all or not (isinstance(item, Folded) and item.plumbing):
                yield _function(frame)


def _function(frame: Frame) -> FlameFrame:
    own = frame.layer in ("user", "native")
    name = (frame.qualname or frame.name).rpartition("<locals>.")[2]
    file = frame.file.rpartition("/")[2] if own else path_of(frame)
    return FlameFrame(name=name, file=file, layer=frame.layer)
