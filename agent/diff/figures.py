"""Figures of a side, and how far apart two must be to say something."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.differences import Because, Difference, Value
from dsray_inspect.agent.text.humanize import duration, size

LEAST_STEPS: Final = 5
"""A pace is known from so many steps on."""


_LARGEST: Final = 1 << 62
"""A larger number was read wrongly."""


class Figure(NamedTuple):
    """How a figure is shown, and when two of them differ: by a factor, and by an amount."""

    shown: Callable[[float], str]
    factor: float
    least: float


def _bytes(number: float) -> str:
    return size(round(number))


FIGURES: Final[dict[str, Figure]] = {
    "step_s": Figure(duration, 2.0, 0.02),
    "startup_s": Figure(duration, 2.0, 30.0),
    "rss_bytes": Figure(_bytes, 1.5, 256 << 20),
    "gpu_memory_bytes": Figure(_bytes, 1.5, 1 << 30),
}
MOMENTS: Final[dict[str, Callable[[float], str]]] = {
    "step": lambda number: f"{number:.0f}",
    "idle_s": duration,
}
"""Figures of the moment: they differ between any two."""


def figure_differences(a: Side, b: Side) -> Iterator[Difference]:
    """Yield the figures that are not the same, those that are about the same too."""
    mine, theirs = _run_figures(a), _run_figures(b)

    for name in FIGURES:
        if name in mine and name in theirs:
            yield from _differing(name, {None: (mine[name], theirs[name])})

    of_a, of_b = _rank_figures(a), _rank_figures(b)

    for name in sorted(of_a.keys() & of_b.keys()):
        first, second = of_a[name], of_b[name]
        common = sorted(first.keys() & second.keys())
        yield from _differing(name, {rank: (first[rank], second[rank]) for rank in common})


def _differing(name: str, pairs: Mapping[Any, tuple[float, float]]) -> Iterator[Difference]:
    """Yield one difference for all ranks whose figure differs in one way, by their medians."""
    ways: dict[tuple[Because | None, bool], list[int | None]] = {}

    for rank, (one, other) in pairs.items():
        if one != other:
            ways.setdefault((_because(name, one, other), one < other), []).append(rank)

    for (because, _), ranks in ways.items():
        medians = [statistics.median(pairs[rank][side] for rank in ranks) for side in (0, 1)]
        shown = MOMENTS[name] if name in MOMENTS else FIGURES[name].shown
        values = [Value(text=shown(number), number=number) for number in medians]
        yield Difference(
            kind="figure",
            name=name,
            ranks=tuple(rank for rank in ranks if rank is not None),
            a=values[0],
            b=values[1],
            because=because,
        )


def _because(name: str, one: float, other: float) -> Because | None:
    if name in MOMENTS:
        return "moment"

    figure, (low, high) = FIGURES[name], sorted((one, other))
    return None if high - low >= figure.least and high >= figure.factor * low else "small"


def _run_figures(side: Side) -> dict[str, float]:
    found: dict[str, float] = {}
    step_s, startup = _step_s(side), side.last.startup

    if step_s is not None:
        found["step_s"] = step_s

    if startup is not None and startup.until == "first_step":
        found["startup_s"] = startup.seconds

    return found


def _step_s(side: Side) -> float | None:
    """Return how long a step takes: by the samples, else by what the recorders hold of before."""
    first, last = side.snapshots[0], side.last
    before = {worker.actor_id: worker.step for worker in first.workers}
    made = [
        worker.step - start
        for worker in last.workers
        if worker.step is not None and (start := before.get(worker.actor_id)) is not None
    ]
    steps = max(made, default=0)

    if steps >= LEAST_STEPS:
        return (last.taken_at - first.taken_at) / steps

    past = side.history
    return past.step_s if past is not None and past.steps >= LEAST_STEPS else None


def _rank_figures(side: Side) -> dict[str, dict[int, float]]:
    """Return by figure what each rank has, without those that do not know it."""
    used = {
        gpu.uuid: gpu.memory_used_bytes
        for node in side.last.nodes
        for gpu in node.gpus
        if gpu.memory_used_bytes is not None
    }
    found: dict[str, dict[int, float]] = {}

    for rank, worker in side.workers().items():
        uuids = [gpu.uuid for gpu in worker.gpus]
        known = [used[uuid] for uuid in uuids if uuid in used]
        numbers = {
            "rss_bytes": worker.rss_bytes,
            "gpu_memory_bytes": sum(known) if known and len(known) == len(uuids) else None,
            "step": worker.step,
            "idle_s": worker.idle_s,
        }

        for name, number in numbers.items():
            if number is not None and abs(number) < _LARGEST:
                found.setdefault(name, {})[rank] = number

    return found
