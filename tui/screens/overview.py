"""The first view: every rank by node and GPU, those in trouble first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from dsray_inspect.agent.detectors.findings import duration
from dsray_inspect.agent.model import Node, Snapshot, Worker
from dsray_inspect.agent.text.shorten import cut_front, cut_middle, without_domain
from dsray_inspect.agent.text.spans import compact
from dsray_inspect.tui.lines import Cell, Look, Part, Row, blank, fitted, row
from dsray_inspect.tui.pace import chart, paces, step_s
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.heat import grid
from dsray_inspect.tui.standing import PENDING, Standing, standings
from dsray_inspect.tui.story import Story

MANY = 96
"""From so many ranks on, a grid of all stands above the list."""
STILL_S = 5.0
TOP_FUNCTIONS = 4


class Place(NamedTuple):
    """A rank in the list."""

    worker: Worker
    standing: Standing
    host: str
    is_first: bool
    """Whether it is the first of its node."""


class OverviewView(View):
    VIEW: ClassVar[str] = "overview"

    def crumbs(self) -> Sequence[str]:
        return ("Overview",)

    def rows(self, snapshot: Snapshot, story: Story) -> list[Row]:
        return overview(snapshot, story.past, self.size.width)


def overview(snapshot: Snapshot, past: Sequence[Snapshot], width: int) -> list[Row]:
    """Return the rows of the whole view."""
    if not snapshot.workers:
        return without_workers(snapshot)

    by_actor = standings(snapshot)
    rows: list[Row] = []

    if len(snapshot.workers) > MANY:
        rows += grid(snapshot, by_actor, width)

    rows.append(Row("", lambda room: fitted(HEADS, widths(room))))
    rows += ranks(snapshot, by_actor)
    rows += [blank(), *functions(snapshot), blank(), *pace_rows(past)]
    return rows


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


def ranks(snapshot: Snapshot, by_actor: dict[str, Standing]) -> list[Row]:
    """Return a row a rank: nodes in trouble first, and in them the ranks in trouble."""
    hosts = without_domain(one.hostname or one.node_ip for one in snapshot.workers)
    by_node: dict[str, list[Worker]] = {}

    for worker in snapshot.workers:
        by_node.setdefault(worker.node_id, []).append(worker)

    def trouble(worker: Worker) -> tuple[int, int]:
        return by_actor[
            worker.actor_id
        ].trouble, worker.rank if worker.rank is not None else 1 << 30

    nodes = {node.node_id: node for node in snapshot.nodes}
    ordered = sorted(
        (sorted(workers, key=trouble) for workers in by_node.values()),
        key=lambda workers: trouble(workers[0]),
    )
    rows = []

    for workers in ordered:
        node = nodes.get(workers[0].node_id)
        host = hosts[workers[0].hostname or workers[0].node_ip]
        host = f"† {host}" if node is not None and not node.alive else host

        for number, worker in enumerate(workers):
            place = Place(worker, by_actor[worker.actor_id], host, number == 0)
            rows.append(rank_row(place))

    return rows


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


def without_workers(snapshot: Snapshot) -> list[Row]:
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


def functions(snapshot: Snapshot) -> list[Row]:
    """Return the functions that most ranks are in, with how long the longest has not moved."""
    counts: Counter[tuple[str, str, int]] = Counter()
    ranks_in: dict[tuple[str, str, int], list[Worker]] = {}

    for worker in snapshot.workers:
        if worker.function is not None:
            at = (worker.function.name, worker.function.file, worker.function.line)
            counts[at] += 1
            ranks_in.setdefault(at, []).append(worker)

    rows = []

    for number, (at, _) in enumerate(counts.most_common(TOP_FUNCTIONS)):
        workers = ranks_in[at]
        known = sorted(one.rank for one in workers if one.rank is not None)
        idle = max((one.idle_s for one in workers if one.idle_s is not None), default=None)
        where = f"{at[1].rpartition('/')[2]}:{at[2]}"
        who = f"rank{'s' if len(known) > 1 else ''} {compact(known)}"
        rows.append(
            row(
                f"function {at}",
                (f" {'functions' if not number else '':<10}", "dim"),
                (f"{at[0]:<22.22} ", "user"),
                (f"{where:<18.18} ", ""),
                (f"{who:<14.14} ", ""),
                ("" if idle is None else duration(idle), "dim"),
                target="view:functions",
            )
        )

    return rows


def pace_rows(past: Sequence[Snapshot]) -> list[Row]:
    """Return the steps a second over the window, and what a step takes now."""
    rates = paces(past)
    recent = step_s(past[-20:])
    now = f"{duration(recent)} a step" if recent else "no step lately"

    def draw(width: int) -> list[Part]:
        bars = chart(rates, max(0, width - 12 - len(now) - 3))
        return [(f" {'steps/s':<10}", "dim"), (bars, "accent"), (f"  {now}", "")]

    return [Row("", draw)] if len(past) > 1 else []
