"""Which ranks, nodes and GPUs each function runs on, layer by layer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from typing import ClassVar, Final, NamedTuple

from dsray_inspect.agent.model import Frame, Layer, Snapshot, StackGroup, Worker
from dsray_inspect.agent.text.humanize import compact, duration
from dsray_inspect.agent.text.stacks import place_of
from dsray_inspect.agent.text.truncate import cut_end, cut_front, cut_middle, without_domain
from dsray_inspect.tui.drawing import LAYER_STYLES
from dsray_inspect.tui.rank_status import RankStatus, rank_statuses
from dsray_inspect.tui.rows import Cell, Part, Row, blank, columns, heading, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.targets import FoldTarget, RankTarget, ViewName
from dsray_inspect.tui.view_state import ViewState

_LAYERS: Final[tuple[Layer, ...]] = (
    "user",
    "collective",
    "deepspeed",
    "torch",
    "library",
    "native",
)
"""In the order in which they are listed; the others are below every rank all the time."""
_MEANINGS: Final[Mapping[Layer, str]] = {
    "user": "your code: its innermost function",
    "collective": "torch's process groups",
    "deepspeed": "the innermost function of DeepSpeed",
}
_HEADINGS: Final = ("", "function", "line", "ranks", "node/GPU", "share", "idle")
_SHARE_SNAPSHOTS: Final = 120
"""Snapshots over which the share of a function is counted."""
_MAX_HOSTS: Final = 4
_Key = tuple[Layer, str, str]
"""Layer, name and file of a function."""


class _ActiveFunction(NamedTuple):
    """A function and the ranks that are in it."""

    key: _Key
    frame: Frame
    ranks: tuple[int, ...]
    idle_s: float | None
    share: float | None
    """The share of the window, over all ranks, in which it was seen."""


class FunctionsView(View):
    VIEW: ClassVar[ViewName | None] = "functions"

    def rows(self, snapshot: Snapshot, view_state: ViewState) -> list[Row]:
        return _function_rows(snapshot, view_state.past, self.toggled)


def _function_rows(snapshot: Snapshot, past: Sequence[Snapshot], unfolded: Set[str]) -> list[Row]:
    functions = _active_functions(snapshot, past)

    if not functions:
        return [row("", (" No stack was read in this snapshot.", "dim"))]

    workers = {worker.rank: worker for worker in snapshot.workers if worker.rank is not None}
    by_actor = rank_statuses(snapshot)
    rows = [Row("", _draw_headings)]

    for layer in _LAYERS:
        in_layer = [function for function in functions if function.key[0] == layer]
        rows += [heading(layer, _MEANINGS.get(layer, ""))] if in_layer else []

        for function in in_layer:
            key = "/".join(function.key)
            rows.append(_function_row(function, key, workers, is_open=key in unfolded))

            if key in unfolded:
                rows += [
                    _rank_row(workers[rank], by_actor, key)
                    for rank in function.ranks
                    if rank in workers
                ]

        rows += [blank()] if in_layer else []

    return rows


def _draw_headings(width: int) -> list[Part]:
    return columns([Cell(text, "dim") for text in _HEADINGS], _widths(width))


def _widths(width: int) -> list[int]:
    rest = max(34, width - 2 - 9 - 10 - 2 * 7)
    name, place, ranks = int(rest * 0.34), int(rest * 0.26), int(rest * 0.18)
    return [0, name, place, ranks, rest - name - place - ranks, -6, 11]


def _function_row(
    function: _ActiveFunction, key: str, workers: Mapping[int, Worker], *, is_open: bool
) -> Row:
    where = _places(function.ranks, workers)
    frame = function.frame
    text = f"{frame.name} {frame.file} {where} ranks {compact(function.ranks)}"
    draw = partial(_draw_function, function, where, is_open)
    return Row(key, draw, FoldTarget(key), text, ranks=function.ranks)


def _draw_function(function: _ActiveFunction, where: str, is_open: bool, width: int) -> list[Part]:
    share, idle_s, frame = function.share, function.idle_s, function.frame
    cells = [
        Cell(""),
        Cell(f"{'▾' if is_open else '▸'} {frame.name}", LAYER_STYLES.get(function.key[0], "")),
        Cell(place_of(frame).rpartition("/")[2], "", cut_front),
        Cell(compact(function.ranks), "bold", cut_end),
        Cell(where, "", cut_middle),
        Cell("" if share is None else f"{share * 100:.0f} %", "dim"),
        Cell("" if idle_s is None else duration(idle_s)),
    ]
    return columns(cells, _widths(width))


def _rank_row(worker: Worker, by_actor: Mapping[str, RankStatus], key: str) -> Row:
    status = by_actor[worker.actor_id]
    gpus = ",".join(str(gpu.slot) for gpu in worker.gpus) or "–"
    idle = "" if worker.idle_s is None else f"idle {duration(worker.idle_s)}"
    listed = row(
        f"{key}/{worker.actor_id}",
        (f"     {status.symbol} ", status.style),
        (f"rank {worker.rank:<6}", "bold"),
        (f"{worker.hostname or worker.node_ip}  GPU {gpus}  pid {worker.pid}  {idle}", ""),
        (f"  {status.word}", status.style),
        target=RankTarget(worker.actor_id),
    )
    return listed._replace(ranks=() if worker.rank is None else (worker.rank,))


def _active_functions(snapshot: Snapshot, past: Sequence[Snapshot]) -> list[_ActiveFunction]:
    """Return every layer's innermost functions: the culprits' first, then those of most ranks."""
    shares = _shares(past[-_SHARE_SNAPSHOTS:])
    ranks: dict[_Key, list[tuple[int, ...]]] = defaultdict(list)
    frames: dict[_Key, Frame] = {}
    idle_s: dict[_Key, float] = {}

    for group, innermost in _innermost_frames(snapshot):
        for key, frame in innermost.items():
            ranks[key].append(group.ranks)
            frames.setdefault(key, frame)

            if group.idle_s is not None:
                idle_s[key] = max(group.idle_s, idle_s.get(key, 0.0))

    culprits = set(snapshot.verdict.ranks)
    functions = [
        _ActiveFunction(key, frames[key], _merged(groups), idle_s.get(key), shares.get(key))
        for key, groups in ranks.items()
    ]
    return sorted(
        functions, key=lambda each: (culprits.isdisjoint(each.ranks), -len(each.ranks), each.key)
    )


def _merged(groups: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the ranks of all groups in order; those of a single group already are."""
    if len(groups) == 1:
        return groups[0]

    return tuple(sorted({rank for ranks in groups for rank in ranks}))


def _innermost_frames(snapshot: Snapshot) -> Iterator[tuple[StackGroup, dict[_Key, Frame]]]:
    """Yield each training thread's innermost frame of each layer."""
    groups = [group for group in snapshot.stacks.groups if group.role == "worker" and group.ranks]
    training = [group for group in groups if group.thread.startswith("TrainingThread")]

    for group in training or groups:
        innermost: dict[Layer, Frame] = {frame.layer: frame for frame in group.frames}
        by_key = {(layer, frame.name, frame.file): frame for layer, frame in innermost.items()}
        yield group, by_key


def _shares(past: Sequence[Snapshot]) -> dict[_Key, float]:
    """Return in which share of the stacks of all ranks and snapshots each function was seen."""
    counts: Counter[_Key] = Counter()
    stacks = 0

    for snapshot in past:
        seen: set[int] = set()

        for group, innermost in _innermost_frames(snapshot):
            seen.update(group.ranks)

            for key in innermost:
                counts[key] += len(group.ranks)

        stacks += len(seen)

    return {key: min(1.0, count / stacks) for key, count in counts.items()} if stacks else {}


def _places(ranks: Sequence[int], workers: Mapping[int, Worker]) -> str:
    """Return "host-a/0-1 host-b/0"."""
    slots_by_host: dict[str, set[int]] = {}

    for rank in ranks:
        if rank in workers:
            worker = workers[rank]
            slots = slots_by_host.setdefault(worker.hostname or worker.node_ip, set())
            slots.update(gpu.slot for gpu in worker.gpus)

    if len(slots_by_host) > _MAX_HOSTS:
        return f"{len(slots_by_host)} nodes"

    names = without_domain(slots_by_host)
    return " ".join(
        f"{names[host]}/{compact(sorted(slots)).replace(' ', '')}" if slots else names[host]
        for host, slots in slots_by_host.items()
    )
