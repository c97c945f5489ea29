"""The list of ranks by node and GPU, those in trouble first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

from dsray_inspect.agent.model import Node, Snapshot, Worker
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.agent.text.truncate import cut_front, cut_middle, without_domain
from dsray_inspect.tui.drawing import WIDE
from dsray_inspect.tui.memo import cache_latest
from dsray_inspect.tui.rank_status import RankStatus, rank_statuses
from dsray_inspect.tui.rows import Cell, Part, Row, StyleName, columns, row
from dsray_inspect.tui.targets import RankTarget

_VERY_WIDE: Final = 130
_RECENT_S: Final = 5.0
"""Shorter idle times are dimmed."""
_HEADINGS: Final = (
    "", "node", "GPU", "rank", "function", "phase", "step", "state", "idle", "pid", "collective",
)  # fmt: skip


class ListedRank(NamedTuple):
    """A rank in the list."""

    worker: Worker
    status: RankStatus
    host: str
    is_first: bool
    """Whether it is the first of its node."""


@cache_latest
def ordered_ranks(snapshot: Snapshot) -> list[ListedRank]:
    """Return the ranks: nodes in trouble first, and within a node the ranks in trouble."""
    by_actor = rank_statuses(snapshot)
    hosts = without_domain({worker.hostname or worker.node_ip for worker in snapshot.workers})
    by_node: dict[str, list[tuple[int, int, Worker]]] = {}

    for worker in snapshot.workers:
        rank = worker.rank if worker.rank is not None else 1 << 30
        entry = (by_actor[worker.actor_id].priority, rank, worker)
        by_node.setdefault(worker.node_id, []).append(entry)

    lost = {node.node_id for node in snapshot.nodes if not node.alive}
    nodes = [sorted(entries, key=_priority_and_rank) for entries in by_node.values()]
    nodes.sort(key=lambda entries: _priority_and_rank(entries[0]))
    listed: list[ListedRank] = []

    for entries in nodes:
        host = _host_of(entries[0][2], hosts, lost)
        listed += [
            ListedRank(worker, by_actor[worker.actor_id], host, number == 0)
            for number, (_, _, worker) in enumerate(entries)
        ]

    return listed


def _priority_and_rank(entry: tuple[int, int, Worker]) -> tuple[int, int]:
    return entry[:2]


def _host_of(worker: Worker, hosts: Mapping[str, str], lost: set[str]) -> str:
    host = hosts[worker.hostname or worker.node_ip]
    return f"† {host}" if worker.node_id in lost else host


def draw_headings(width: int) -> list[Part]:
    return columns([Cell(text, "dim") for text in _HEADINGS], _widths(width))


def _widths(width: int) -> list[int]:
    """Return the width of each column; a narrow screen has no step, pid and collective."""
    is_wide, is_very_wide = width >= WIDE, width >= _VERY_WIDE
    fixed = [
        0,
        14 if is_wide else 9,
        3,
        7,
        0,
        18 if is_wide else 12,
        8 if is_wide else 0,
        10,
        11,
        7 if is_very_wide else 0,
        22 if is_very_wide else 0,
    ]
    gaps = 2 * (sum(each > 0 for each in fixed) + 1)
    room = width - sum(fixed) - gaps - 1
    fixed[4] = max(10, min(room, 48))
    return fixed


def rank_row(listed: ListedRank) -> Row:
    worker, function = listed.worker, listed.worker.function
    name = function.name if function else ""
    where = f"{function.file.rpartition('/')[2]}:{function.line}" if function else ""
    text = (
        f"rank {worker.rank} {listed.host} {name} {where} {worker.phase} "
        f"{listed.status.word} {worker.pid}"
    )
    target = RankTarget(worker.actor_id)
    ranks = () if worker.rank is None else (worker.rank,)
    return Row(worker.actor_id, partial(_draw_rank, listed), target, text, ranks=ranks)


def _draw_rank(listed: ListedRank, width: int) -> list[Part]:
    worker, status = listed.worker, listed.status
    idle_s = worker.idle_s
    idle_style: StyleName = "still" if idle_s is not None and idle_s < _RECENT_S else status.style
    style: StyleName = status.style if status.is_trouble else ""
    waiting_in = next((each for each in worker.collectives if not each.finished), None)
    collective = f"{waiting_in.operation} #{waiting_in.sequence}" if waiting_in else ""
    rank = "–" if worker.rank is None else str(worker.rank)
    cells = [
        Cell(""),
        Cell(listed.host if listed.is_first else "", "bold", cut_middle),
        Cell(",".join(str(gpu.slot) for gpu in worker.gpus) or "–"),
        Cell(f"{status.symbol} {rank}", status.style),
        Cell(_function_text(worker), style or "user", _cut_function),
        Cell("–" if worker.phase == "unknown" else worker.phase, style),
        Cell("–" if worker.step is None else f"{worker.step}"),
        Cell(status.word, status.style),
        Cell("–" if idle_s is None else duration(idle_s), idle_style),
        Cell(str(worker.pid), "dim"),
        Cell(collective, "collective"),
    ]
    return columns(cells, _widths(width))


def _function_text(worker: Worker) -> str:
    """Return "load_batch train.py:81"."""
    function = worker.function

    if function is None:
        return "–"

    return f"{function.name} {function.file.rpartition('/')[2]}:{function.line}"


def _cut_function(text: str, width: int) -> str:
    """Cut the file first and then the name; the line number always stays."""
    if len(text) <= width:
        return text

    name, _, place = text.partition(" ")
    line = place.rpartition(":")[2]
    short = f"{name}:{line}"
    return short if len(short) <= width else f"{cut_front(name, width - len(line) - 1)}:{line}"


def node_row(node: Node) -> Row:
    state: Part = ("alive", "success") if node.alive else ("† lost", "error")
    gpus = f"{len(node.gpus)} GPUs" if node.gpus else ""
    return row(
        node.node_id,
        (f"   {node.hostname or node.ip:<20} {node.ip:<16} ", ""),
        state,
        (f"  {gpus}", "dim"),
    )
