"""Takes a side apart: facts of the whole run, and facts of each rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from dsray_inspect.agent.diff.fact import Fact, Facts, Key, text_fact
from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.diff.standing import place_of
from dsray_inspect.agent.differences import Value
from dsray_inspect.agent.model import OK, DeepSpeed, Snapshot, Worker
from dsray_inspect.agent.text.humanize import agree, compact

_MOST_RANKS: Final = 1_000_000
"""A world of more ranks is none: its size was read wrongly."""
_ENGINE: Final = (
    *("zero_stage", "dtype", "micro_batch_size", "gradient_accumulation_steps"),
    *("train_batch_size", "offload", "optimizer"),
)
"""What the engine says of itself: its config says the same, and more."""


class SideFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of a side; `unread` says by rank which kinds are not known, and why."""

    run: Facts
    ranks: dict[int, Facts]
    unread: dict[int, dict[str, str]]


def facts_of(side: Side) -> SideFacts:
    workers, devices = side.workers(), _devices_of(side.last)
    return SideFacts(
        run=dict(_run_facts(side)),
        ranks={rank: dict(_rank_facts(side, worker, devices)) for rank, worker in workers.items()},
        unread={rank: dict(_unread(worker)) for rank, worker in workers.items()},
    )


def _run_facts(side: Side) -> Iterator[tuple[Key, Fact]]:
    last = side.last
    verdict = last.verdict
    said = f"{verdict.state.upper()}: {verdict.summary}"
    same = (verdict.state, verdict.cause, verdict.ranks)
    yield Key("verdict", "state"), Fact(same, Value(text=said))
    yield Key("world", "size"), text_fact(str(side.world_size()))
    yield Key("world", "job"), text_fact(last.job.state)
    missing = _missing_ranks(side)

    if missing is not None:
        text = _ranks(missing) if missing else "none"
        yield Key("world", "missing"), Fact(missing, Value(text=text))

    if last.job.entrypoint:
        yield Key("command", "entrypoint"), text_fact(last.job.entrypoint)

    for finding in last.findings:
        if finding.cause != verdict.cause:
            summary = Value(text=finding.summary)
            yield Key("finding", finding.cause), Fact(finding.ranks, summary)

    for group in last.groups:
        yield Key("group", group.name), Fact(group.ranks, Value(text=_ranks(group.ranks)))

    yield from _node_facts(last)


def _missing_ranks(side: Side) -> tuple[int, ...] | None:
    """Return the ranks that nobody has, None where that is not known."""
    known, size = side.workers(), side.world_size()

    if len(known) < len(side.last.workers) or size > _MOST_RANKS:
        return None

    return tuple(rank for rank in range(size) if rank not in known)


def _node_facts(last: Snapshot) -> Iterator[tuple[Key, Fact]]:
    members: dict[str, list[int]] = {}

    for worker in last.workers:
        if worker.rank is not None:
            members.setdefault(worker.node_id, []).append(worker.rank)

    if members:
        placed = sorted(tuple(sorted(ranks)) for ranks in members.values())
        text = " | ".join(_ranks(ranks) for ranks in placed)
        yield Key("node", "placement"), Fact(tuple(placed), Value(text=f"{len(placed)}: {text}"))

    lost = sum(not node.alive for node in last.nodes)
    yield Key("node", "lost"), text_fact(str(lost))


def _ranks(ranks: tuple[int, ...]) -> str:
    return f"{agree(ranks, 'rank', 'ranks')} {compact(ranks)}"


class _Devices(NamedTuple):
    """The GPUs of a side, by UUID: what they are, and whose."""

    names: dict[str, str]
    ranks: dict[str, list[int]]


def _devices_of(last: Snapshot) -> _Devices:
    ranks: dict[str, list[int]] = {}

    for worker in last.workers:
        for gpu in worker.gpus:
            if gpu.uuid is not None and worker.rank is not None:
                ranks.setdefault(gpu.uuid, []).append(worker.rank)

    return _Devices({gpu.uuid: gpu.name for node in last.nodes for gpu in node.gpus}, ranks)


def _rank_facts(side: Side, worker: Worker, devices: _Devices) -> Iterator[tuple[Key, Fact]]:
    for name, variable in worker.env.items():
        value = Value(text=variable.value, source=variable.source)
        yield Key("env", name), Fact((variable.value, variable.source), value)

    for package, version in worker.versions.items():
        yield Key("version", package), text_fact(version)

    if worker.deepspeed is not None:
        yield from _engine_facts(worker.deepspeed, has_version="deepspeed" in worker.versions)

    yield Key("world", "process"), text_fact(worker.state)
    yield from _gpu_facts(worker, devices)
    place = place_of(side, worker)

    if place is not None:
        yield Key("place", "at"), place


def _engine_facts(engine: DeepSpeed, *, has_version: bool) -> Iterator[tuple[Key, Fact]]:
    if engine.version and not has_version:
        yield Key("version", "deepspeed"), text_fact(engine.version)

    if engine.parameters is not None:
        yield Key("model", "parameters"), text_fact(f"{engine.parameters:,}")

    for name, text in engine.config.items():
        yield Key("config", name), text_fact(text)

    for name in _ENGINE if not engine.config else ():
        yield Key("config", name), text_fact(str(getattr(engine, name)))


def _gpu_facts(worker: Worker, devices: _Devices) -> Iterator[tuple[Key, Fact]]:
    """Yield what a rank's GPUs are, and with whom it shares one; which of several, Ray decides."""
    uuids = [gpu.uuid for gpu in worker.gpus if gpu.uuid is not None]
    kinds = sorted({devices.names[uuid] for uuid in uuids if uuid in devices.names})
    number = len(worker.gpus)
    yield (
        Key("gpu", "devices"),
        text_fact(f"{number} × {', '.join(kinds)}" if kinds else str(number)),
    )
    sharers = sorted({rank for uuid in uuids for rank in devices.ranks.get(uuid, ())})

    if len(sharers) > 1:
        yield Key("gpu", "shared by"), text_fact(_ranks(tuple(sharers)))


def _unread(worker: Worker) -> Iterator[tuple[str, str]]:
    evidence = worker.evidence

    if not worker.env:
        yield "env", evidence.env if evidence.env != OK else "it was not read"

    if worker.deepspeed is None:
        yield "config", evidence.deepspeed if evidence.deepspeed != OK else "it was not found"
        yield "model", ""

    if not worker.versions:
        yield "version", evidence.worker if evidence.worker != OK else "they were not read"

    if worker.state == "dead":
        yield "place", ""
