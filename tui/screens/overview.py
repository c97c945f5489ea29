"""The first view: every rank by node and GPU, those in trouble first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.containers import Horizontal

from dsray_inspect.agent.model import Node, Snapshot, Worker
from dsray_inspect.agent.stacks.memo import of_newest
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.agent.text.truncate import cut_front, cut_middle, without_domain
from dsray_inspect.tui.rank_status import PENDING, RankStatus, standings
from dsray_inspect.tui.rows import Cell, LazyRows, Look, Part, Row, blank, fitted, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.rank_grid import grid
from dsray_inspect.tui.screens.rank_rows import RankRows, history
from dsray_inspect.tui.screens.summary import (
    engine_row,
    functions,
    pace_rows,
    people,
    start_row,
    why_rows,
)
from dsray_inspect.tui.screens.timeline import timeline
from dsray_inspect.tui.view_state import ViewState
from dsray_inspect.tui.widgets.rows import Rows

MANY = 96
"""From so many ranks on, a grid of all stands above the list."""
STILL_S = 5.0
TWO_PANES = 150
TALL = 36
MOST_STRIPS = 16


class Place(NamedTuple):
    """A rank in the list."""

    worker: Worker
    standing: RankStatus
    host: str
    is_first: bool
    """Whether it is the first of its node."""


class OverviewView(View):
    VIEW: ClassVar[str] = "overview"

    def crumbs(self) -> Sequence[str]:
        return ("Overview",)

    def body(self) -> ComposeResult:
        with Horizontal():
            yield Rows(id="rows")
            yield Rows(id="side")

    def rows(self, snapshot: Snapshot, story: ViewState) -> Sequence[Row]:
        width = self.list.size.width or self.size.width
        rows = overview(snapshot, story.past, width)

        if self.size.height < TALL or isinstance(rows, LazyRows):
            return rows

        return [*rows, *strips(snapshot, story.past, width)]

    def on_mount(self) -> None:
        self.query_one("#side", Rows).can_focus = False
        super().on_mount()

    def on_rows_moved(self, message: Rows.Moved) -> None:
        message.stop()
        self.shown()

    def shown(self) -> None:
        """Show the rank under the cursor beside the list, where there is room for it."""
        side, current, snapshot = (
            self.query_one("#side", Rows),
            self.list.current,
            self.inspect.story.now,
        )

        if side.display != (self.size.width >= TWO_PANES):
            side.display = not side.display
            # The list is of another width now.
            self.call_after_refresh(self.update_view)

        if side.display and current is not None and snapshot is not None:
            actor_id = current.target.removeprefix("rank:")
            worker = next((one for one in snapshot.workers if one.actor_id == actor_id), None)

            if worker is not None:
                folded = {"environment", "config", "evidence"}
                is_live = self.inspect.source.is_live
                past = history(self.inspect.story.past, worker)
                width = side.size.width
                page = RankRows(
                    snapshot, worker, past, folded, width=width, is_full=False, is_live=is_live
                )
                side.show(list(page.rows()))


def overview(snapshot: Snapshot, past: Sequence[Snapshot], width: int) -> Sequence[Row]:
    """Return the rows of the whole view."""
    if not snapshot.workers:
        return without_workers(snapshot, width)

    by_actor = standings(snapshot)
    many = len(snapshot.workers) > MANY
    head = [*(grid(snapshot, by_actor, width) if many else ()), Row("", heads)]
    places = ordered(snapshot)
    tail = [blank(), *functions(snapshot), blank(), *why_rows(snapshot, width)]
    tail += [*pace_rows(past), *engine_row(snapshot)]
    tail += [*start_row(snapshot, width), *people(snapshot)]

    if many:
        keys = [place.worker.actor_id for place in places]
        return LazyRows(head, keys, lambda at: rank_row(places[at]), tail)

    return [*head, *map(rank_row, places), *tail]


def heads(width: int) -> list[Part]:
    return fitted(HEADS, widths(width))


HEADS = [
    Cell(text, "dim")
    for text in (
        "",
        "node",
        "GPU",
        "rank",
        "function",
        "phase",
        "step",
        "state",
        "moved",
        "pid",
        "collective",
    )
]


def widths(width: int) -> list[int]:
    """Return the columns; a narrow screen goes without step, pid and collective."""
    wide, wider = width >= 100, width >= 130
    fixed = [
        0,
        9 if not wide else 14,
        3,
        7,
        0,
        12 if not wide else 18,
        8 if wide else 0,
        10,
        11,
        7 if wider else 0,
        22 if wider else 0,
    ]
    gaps = 2 * (sum(one > 0 for one in fixed) + 1)
    room = width - sum(fixed) - gaps - 1
    fixed[4] = max(10, min(room, 48))
    return fixed


def strips(snapshot: Snapshot, past: Sequence[Snapshot], width: int) -> list[Row]:
    """Return the first of the timeline's strips, for screens with room below."""
    if len(past) < 2 or not snapshot.workers or len(snapshot.workers) > MANY:
        return []

    rows = timeline(snapshot, past, width, 1)[: 1 + min(MOST_STRIPS, len(snapshot.workers))]
    return [blank(), *(one._replace(key=f"strip {one.key}" if one.key else "") for one in rows)]


@of_newest
def ordered(snapshot: Snapshot) -> list[Place]:
    """Return the ranks: nodes in trouble first, and in them the ranks in trouble."""
    by_actor = standings(snapshot)
    hosts = without_domain({one.hostname or one.node_ip for one in snapshot.workers})
    by_node: dict[str, list[tuple[int, int, Worker]]] = {}

    for worker in snapshot.workers:
        rank = worker.rank if worker.rank is not None else 1 << 30
        one = (by_actor[worker.actor_id].trouble, rank, worker)
        by_node.setdefault(worker.node_id, []).append(one)

    lost = {node.node_id for node in snapshot.nodes if not node.alive}
    nodes = [sorted(workers, key=in_trouble) for workers in by_node.values()]
    places = []

    for workers in sorted(nodes, key=lambda workers: workers[0][:2]):
        first = workers[0][2]
        host = hosts[first.hostname or first.node_ip]
        host = f"† {host}" if first.node_id in lost else host
        places += [
            Place(worker, by_actor[worker.actor_id], host, worker is first)
            for _, _, worker in workers
        ]

    return places


def in_trouble(one: tuple[int, int, Worker]) -> tuple[int, int]:
    return one[:2]


def rank_row(place: Place) -> Row:
    worker, standing = place.worker, place.standing
    function = worker.function
    name = function.name if function else ""
    where = f"{function.file.rpartition('/')[2]}:{function.line}" if function else ""
    text = f"rank {worker.rank} {place.host} {name} {where} {worker.phase} {standing.word} {worker.pid}"
    target = f"rank:{worker.actor_id}"
    return Row(worker.actor_id, partial(drawn, place), target, text)


def drawn(place: Place, width: int) -> list[Part]:
    worker, standing = place.worker, place.standing
    idle_s = worker.idle_s
    still: Look = "still" if idle_s is not None and idle_s < STILL_S else standing.look
    look: Look = standing.look if standing.trouble <= 4 else ""
    open_one = next((one for one in worker.collectives if not one.finished), None)
    rank = "–" if worker.rank is None else str(worker.rank)
    cells = [
        Cell(""),
        Cell(place.host if place.is_first else "", "bold", cut_middle),
        Cell(",".join(str(gpu.slot) for gpu in worker.gpus) or "–"),
        Cell(f"{standing.symbol} {rank}", standing.look),
        Cell(function_of(worker), look or "user", cut_function),
        Cell(phase_of(worker), look),
        Cell("–" if worker.step is None else f"{worker.step}"),
        Cell(standing.word, standing.look),
        Cell("–" if idle_s is None else duration(idle_s), still),
        Cell(str(worker.pid), "dim"),
        Cell(f"{open_one.operation} #{open_one.sequence}" if open_one else "", "collective"),
    ]
    return fitted(cells, widths(width))


def function_of(worker: Worker) -> str:
    """Return "load_batch train.py:81"; the line matters most."""
    function = worker.function

    if function is None:
        return "–"

    return f"{function.name} {function.file.rpartition('/')[2]}:{function.line}"


def cut_function(text: str, width: int) -> str:
    """Shorten the function's name before file and line, and the file before the line."""
    if len(text) <= width:
        return text

    name, _, place = text.partition(" ")
    line = place.rpartition(":")[2]
    short = f"{name}:{line}"
    return short if len(short) <= width else f"{cut_front(name, width - len(line) - 1)}:{line}"


def phase_of(worker: Worker) -> str:
    return "–" if worker.phase == "unknown" else worker.phase


def without_workers(snapshot: Snapshot, width: int) -> list[Row]:
    waits = snapshot.controller.waiting_on if snapshot.controller else None
    over = snapshot.job.has_ended
    rows = [
        row(
            "",
            (" The workers have ended." if over else f" {PENDING.symbol} No workers yet.", "bold"),
        )
    ]
    rows += [row("", (f"   The controller waits on {waits}.", ""))] if waits and not over else []
    rows += [row("", (f"   {note}", "dim")) for note in snapshot.notes]
    rows += [blank(), *why_rows(snapshot, width), *people(snapshot)]
    rows += [blank(), *(node_row(node) for node in snapshot.nodes)]
    return rows


def node_row(node: Node) -> Row:
    state: Part = ("alive", "success") if node.alive else ("† lost", "error")
    gpus = f"{len(node.gpus)} GPUs" if node.gpus else ""
    return row(
        node.node_id,
        (f"   {node.hostname or node.ip:<20} {node.ip:<16} ", ""),
        state,
        (f"  {gpus}", "dim"),
    )
