"""Which node and GPU each function runs on: function by function, layer by layer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from typing import ClassVar, NamedTuple

from dsray_inspect.agent.model import Frame, Layer, Snapshot, StackGroup, Worker
from dsray_inspect.agent.text.humanize import compact, duration
from dsray_inspect.agent.text.stacks import place_of
from dsray_inspect.agent.text.truncate import cut_end, cut_front, cut_middle, without_domain
from dsray_inspect.tui.rank_status import RankStatus, standings
from dsray_inspect.tui.rows import Cell, Look, Part, Row, blank, fitted, heading, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.view_state import ViewState

ORDER: tuple[Layer, ...] = (
    "user", "collective", "deepspeed", "torch", "library", "ray_train", "ray", "native", "python",
)  # fmt: skip
LOOKS: Mapping[str, Look] = {
    "user": "user",
    "collective": "collective",
    "deepspeed": "deepspeed",
    "torch": "torch",
    "ray": "ray",
    "ray_train": "ray",
}
SHARE_LOOKS = 120
HIDDEN: tuple[Layer, ...] = ("python", "ray_train", "ray")
"""Layers that every rank is in all the time."""
Spot = tuple[Layer, str, str]
"""A function: layer, name, file."""


class Held(NamedTuple):
    """One function and who is in it now."""

    spot: Spot
    frame: Frame
    ranks: tuple[int, ...]
    idle_s: float | None
    share: float | None
    """The part of all ranks' looks in the window that it was seen in."""


class FunctionsView(View):
    VIEW: ClassVar[str] = "functions"

    def __init__(self) -> None:
        super().__init__()
        self._open: set[str] = set()

    def rows(self, snapshot: Snapshot, story: ViewState) -> list[Row]:
        return functions(snapshot, story.past, self._open)

    def chosen(self, row: Row) -> None:
        if row.target.startswith("fold:"):
            self._open ^= {row.key}
            self.update_view()
        else:
            super().chosen(row)


def functions(snapshot: Snapshot, past: Sequence[Snapshot], opened: Set[str]) -> list[Row]:
    """Return the rows of the whole view."""
    found = held(snapshot, past)

    if not found:
        return [row("", (" No rank's stack was seen in this look.", "dim"))]

    workers = {one.rank: one for one in snapshot.workers if one.rank is not None}
    by_actor = standings(snapshot)
    rows = [Row("", lambda width: fitted(HEADS, widths(width)))]

    for layer in ORDER:
        of_layer = [one for one in found if one.spot[0] == layer]

        if not of_layer or layer in HIDDEN:
            continue

        rows += [heading(layer, MEANING.get(layer, ""))]

        for one in of_layer:
            key = "/".join(one.spot)
            is_open = key in opened
            where = places(one.ranks, workers)
            text = f"{one.frame.name} {one.frame.file} {where} ranks {compact(one.ranks)}"
            rows.append(Row(key, partial(drawn, one, where, is_open), f"fold:{key}", text))

            if is_open:
                rows += [
                    member(workers[rank], by_actor, key) for rank in one.ranks if rank in workers
                ]

        rows.append(blank())

    return rows


MEANING = {
    "user": "your code: the innermost function of it",
    "collective": "torch's process groups",
    "deepspeed": "the innermost function of DeepSpeed",
}
HEADS = [
    Cell(text, "dim") for text in ("", "function", "line", "ranks", "node/GPU", "looks", "here for")
]


def widths(width: int) -> list[int]:
    """Return the columns of the list."""
    rest = max(34, width - 2 - 9 - 10 - 2 * 7)
    name, place, ranks = int(rest * 0.34), int(rest * 0.26), int(rest * 0.18)
    return [0, name, place, ranks, rest - name - place - ranks, -6, 11]


def drawn(one: Held, where: str, is_open: bool, width: int) -> list[Part]:
    share = "" if one.share is None else f"{one.share * 100:.0f} %"
    cells = [
        Cell(""),
        Cell(f"{'▾' if is_open else '▸'} {one.frame.name}", LOOKS.get(one.spot[0], "")),
        Cell(place_of(one.frame).rpartition("/")[2], "", cut_front),
        Cell(compact(one.ranks), "bold", cut_end),
        Cell(where, "", cut_middle),
        Cell(share, "dim"),
        Cell("" if one.idle_s is None else duration(one.idle_s)),
    ]
    return fitted(cells, widths(width))


def member(worker: Worker, by_actor: Mapping[str, RankStatus], key: str) -> Row:
    standing = by_actor[worker.actor_id]
    gpus = ",".join(str(gpu.slot) for gpu in worker.gpus) or "–"
    moved = "" if worker.idle_s is None else f"moved {duration(worker.idle_s)} ago"
    return row(
        f"{key}/{worker.actor_id}",
        (f"     {standing.symbol} ", standing.look),
        (f"rank {worker.rank:<6}", "bold"),
        (f"{worker.hostname or worker.node_ip}  GPU {gpus}  pid {worker.pid}  {moved}", ""),
        (f"  {standing.word}", standing.look),
        target=f"rank:{worker.actor_id}",
    )


def held(snapshot: Snapshot, past: Sequence[Snapshot]) -> list[Held]:
    """Return every layer's innermost functions, those that most ranks are in first."""
    shares = shares_of(past[-SHARE_LOOKS:])
    ranks: dict[Spot, list[tuple[int, ...]]] = defaultdict(list)
    frames: dict[Spot, Frame] = {}
    idles: dict[Spot, float] = {}

    for group, own in spots(snapshot):
        for spot, frame in own.items():
            ranks[spot].append(group.ranks)
            frames.setdefault(spot, frame)

            if group.idle_s is not None:
                idles[spot] = max(group.idle_s, idles.get(spot, 0.0))

    blamed = set(snapshot.verdict.ranks)
    found = [
        Held(spot, frames[spot], together(of), idles.get(spot), shares.get(spot))
        for spot, of in ranks.items()
    ]
    return sorted(found, key=lambda one: (blamed.isdisjoint(one.ranks), -len(one.ranks), one.spot))


def together(ranks: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return all ranks of groups, in order; those of one group are."""
    return ranks[0] if len(ranks) == 1 else tuple(sorted({one for group in ranks for one in group}))


def spots(snapshot: Snapshot) -> Iterator[tuple[StackGroup, dict[Spot, Frame]]]:
    """Yield the innermost frame of each layer, for each training thread."""
    groups = [one for one in snapshot.stacks.groups if one.role == "worker" and one.ranks]
    training = [one for one in groups if one.thread.startswith("TrainingThread")]

    for group in training or groups:
        innermost: dict[Layer, Frame] = {frame.layer: frame for frame in group.frames}
        yield (
            group,
            {(layer, frame.name, frame.file): frame for layer, frame in innermost.items()},
        )


def shares_of(past: Sequence[Snapshot]) -> dict[Spot, float]:
    counts: Counter[Spot] = Counter()
    looks = 0

    for snapshot in past:
        seen: set[int] = set()

        for group, own in spots(snapshot):
            seen.update(group.ranks)

            for spot in own:
                counts[spot] += len(group.ranks)

        looks += len(seen)

    return {spot: min(1.0, count / looks) for spot, count in counts.items()} if looks else {}


def places(ranks: Sequence[int], workers: Mapping[int, Worker]) -> str:
    """Return "host-a/0-1 host-b/0"."""
    by_host: dict[str, set[int]] = {}

    for rank in ranks:
        if rank in workers:
            worker = workers[rank]
            slots = by_host.setdefault(worker.hostname or worker.node_ip, set())
            slots.update(gpu.slot for gpu in worker.gpus)

    if len(by_host) > 4:
        return f"{len(by_host)} nodes"

    names = without_domain(by_host)
    return " ".join(
        f"{names[host]}/{compact(sorted(slots)).replace(' ', '')}" if slots else names[host]
        for host, slots in by_host.items()
    )
