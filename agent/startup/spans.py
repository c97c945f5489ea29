"""A run's start as spans: for traces, and for the time before anybody attached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from dsray_inspect.agent.model import Node, Snapshot, Worker
from dsray_inspect.agent.startup.ranks import RankSpan, RankStart
from dsray_inspect.agent.startup.reader import Read
from dsray_inspect.agent.timeline import Process, Span, Timeline, Value

_NAMES = {
    "initialize": "deepspeed_init",
    "rendezvous": "rendezvous",
    "train_func": "train_func",
    "first_step": "first_step",
    "op_compile": "op_compile",
    "checkpoint_load": "checkpoint_load",
}
"""What spans of a rank's own record are called; all others are phases of `deepspeed_init`."""
_RECORDED = ("rendezvous", "train_func")
OP_NAME: Final = "dsray.op.name"
IMPORT_TARGET: Final = "dsray.import.target"


def start_timeline(snapshot: Snapshot, read: Read) -> Timeline:
    """Return the spans of the start, each in the process that it belongs to."""
    processes = [_driver_of(snapshot), _controller_of(snapshot), *map(_worker_of, snapshot.workers)]
    spans = [*_shared_spans(read)]

    for number, worker in enumerate(snapshot.workers, start=2):
        spans += _rank_spans(number, worker, read)

    startup = snapshot.startup
    return Timeline(
        job=snapshot.job,
        run=snapshot.run,
        processes=tuple(processes),
        spans=tuple(sorted(spans, key=lambda span: (span.start_ns, -(span.end_ns or 2**63)))),
        dropped=sum(rank.lost for rank in read.ranks.values()),
        notes=startup.notes if startup else read.notes,
    )


def span(
    process: int,
    name: str,
    start_ns: int,
    end_ns: int | None,
    attributes: Mapping[str, Value] | None = None,
) -> Span:
    return Span(
        name=name,
        kind="startup",
        process=process,
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=dict(attributes or {}),
    )


def _shared_spans(read: Read) -> Iterator[Span]:
    """Yield the spans of the driver and of the controller."""
    marks = read.marks

    if marks.fit_ns is not None:
        yield span(0, "fit", marks.fit_ns, None)

        if marks.controller_ns is not None:
            yield span(1, "controller", marks.fit_ns, marks.controller_ns)

    if marks.group_asked_ns is not None:
        yield span(1, "placement_group", marks.group_asked_ns, marks.group_ready_ns)


def _rank_spans(number: int, worker: Worker, read: Read) -> Iterator[Span]:
    """Yield the spans of one rank: what its launcher keeps of it, and what it has recorded."""
    recorded = read.ranks.get(worker.actor_id)

    for part in read.facts.spans.get(worker.actor_id, ()):
        # What a rank has recorded itself is more exact.
        if recorded is None or part.name not in _RECORDED:
            target = {IMPORT_TARGET: part.target} if part.target else None
            yield span(number, part.name, part.start_ns, part.end_ns, target)

    if recorded is not None:
        yield from _recorded_spans(number, recorded)


def _recorded_spans(number: int, recorded: RankStart) -> Iterator[Span]:
    for recorded_span in recorded.spans:
        yield span(
            number,
            _span_name(recorded_span),
            recorded_span.start_ns,
            recorded_span.end_ns,
            {OP_NAME: recorded_span.detail} if recorded_span.detail else None,
        )


def _span_name(recorded: RankSpan) -> str:
    return _NAMES.get(
        recorded.name, f"deepspeed_init.{recorded.name}".replace("import ", "import_")
    )


def _driver_of(snapshot: Snapshot) -> Process:
    driver = snapshot.driver
    node = _node_at(snapshot, driver.node_ip if driver else None)
    return Process(
        role="driver",
        rank=None,
        pid=driver.pid if driver else 0,
        hostname=node.hostname if node else "",
        node_id=node.node_id if node else "",
        node_ip=driver.node_ip if driver else "",
    )


def _controller_of(snapshot: Snapshot) -> Process:
    controller = snapshot.controller
    node = _node_at(snapshot, controller.node_ip if controller else None)
    return Process(
        role="controller",
        rank=None,
        pid=controller.pid if controller else 0,
        hostname=node.hostname if node else "",
        node_id=node.node_id if node else "",
        node_ip=controller.node_ip if controller else "",
        actor_id=controller.actor_id if controller else None,
    )


def _node_at(snapshot: Snapshot, ip: str | None) -> Node | None:
    return next((node for node in snapshot.nodes if node.ip == ip), None)


def _worker_of(worker: Worker) -> Process:
    return Process(
        role="worker",
        rank=worker.rank,
        pid=worker.pid,
        hostname=worker.hostname,
        node_id=worker.node_id,
        node_ip=worker.node_ip,
        actor_id=worker.actor_id,
        worker_id=worker.worker_id,
        gpus=tuple(gpu.uuid or str(gpu.slot) for gpu in worker.gpus),
    )


def joined(timeline: Timeline, start: Timeline) -> Timeline:
    """Return a timeline with the spans of the run's start, in the processes it has already."""
    processes = list(timeline.processes)
    places: list[int] = []

    for process in start.processes:
        same = (
            number
            for number, known in enumerate(processes)
            if (known.role, known.pid, known.node_ip)
            == (process.role, process.pid, process.node_ip)
        )
        places.append(next(same, len(processes)))
        processes += [process] if places[-1] == len(processes) else []

    moved = (msgspec.structs.replace(span, process=places[span.process]) for span in start.spans)
    return msgspec.structs.replace(
        timeline,
        processes=tuple(processes),
        spans=tuple(sorted((*timeline.spans, *moved), key=lambda span: span.start_ns)),
        dropped=timeline.dropped + start.dropped,
        notes=(*timeline.notes, *start.notes),
    )
