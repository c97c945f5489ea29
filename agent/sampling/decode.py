"""Turns the dicts that other processes send into records, once.

`agent.remote` runs where only the standard library is certain to be, so what it returns is made
of dicts. Nothing above this module sees them. A dict with `reason` and `detail` stands for
something that was not available.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from sys import intern
from typing import Any, TypeVar

import msgspec

from dsray_inspect.agent.launchers.base import CallFailed
from dsray_inspect.agent.model import Collective, DeepSpeed, Gpu, Group
from dsray_inspect.agent.sampling.node_report import (
    LogTail,
    NodeReport,
    PostMortem,
    SpilledObjects,
)
from dsray_inspect.agent.sampling.process_probe import (
    NO_IDENTITY,
    NOT_DUMPED,
    ActivityCounters,
    Environ,
    Identity,
    ProcessProbe,
    RecorderReport,
    StackDump,
)
from dsray_inspect.agent.sampling.rank_report import (
    CompileLock,
    ControllerReport,
    ControllerWorker,
    OpBuild,
    RankReport,
    TrainingHealth,
)
from dsray_inspect.agent.stacks.decode import threads_inside
from dsray_inspect.agent.stacks.pyspy import PySpyUnreadable, labelled_threads
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable

T = TypeVar("T")
Wire = Mapping[str, Any]

NO_THREADS = Unavailable(
    reason="not_running", detail="py-spy sees no Python thread in it: it is starting or ending"
)
UNCHANGED = Unavailable(reason="unchanged", detail="unchanged since the last answer")


def failed_call(failure: CallFailed) -> Unavailable:
    return Unavailable(reason="died" if failure.dead else "failed", detail=str(failure))


def rank_report(answer: Wire, table: StackTable) -> RankReport | Unavailable:
    """Return the answer of the parts of `remote.worker` and others that a rank was asked to run."""
    try:
        return _rank_report(answer, table)
    except (msgspec.ValidationError, LookupError, TypeError, ValueError) as error:
        return _malformed(error)


def _rank_report(answer: Wire, table: StackTable) -> RankReport:
    get = answer.get
    collectives, builds = get("collectives"), get("builds")
    entries = collectives if isinstance(collectives, (list, tuple)) else None
    groups = _groups(entries or (), get("group_ranks") or {})
    return RankReport(
        threads=threads_inside(answer, table),
        identity=identity_of(get("identity") or {}),
        environ=_environ(answer),
        env_state=get("env_state"),
        deepspeed=_part(get("deepspeed"), DeepSpeed),
        step=get("step"),
        health=_record(get("health"), TrainingHealth),
        collectives=_absent(answer, "collectives")
        if entries is None
        else _collectives(entries, groups),
        groups=tuple(groups.values()),
        longest_gap_s=get("longest_gap_s"),
        newest_age_s=_newest_age_s(answer),
        arrivals=get("arrivals") or {},
        recorder_state=get("recorder_state"),
        counters=_record(get("counters"), ActivityCounters),
        locks=tuple(msgspec.convert(lock, CompileLock) for lock in get("locks") or ()),
        versions=get("versions") or {},
        start=get("start"),
        builds=None if builds is None else msgspec.convert(builds, tuple[OpBuild, ...]),
        train_s=get("train_s") or {},
        failed=tuple(get("failed") or ()),
        pause_ms=get("pause_ms", 0.0),
    )


def controller_report(answer: Wire, table: StackTable) -> ControllerReport | Unavailable:
    """Return the answer of `remote.controller.read_controller`."""
    try:
        return ControllerReport(
            run_id=_text(answer.get("run_id")),
            run_name=_text(answer.get("run_name")),
            state=_text(answer.get("state")),
            attempt=_text(answer.get("attempt")),
            failures=_whole(answer.get("failures")),
            max_failures=_whole(answer.get("max_failures")),
            workers=msgspec.convert(answer.get("workers") or (), tuple[ControllerWorker, ...]),
            threads=threads_inside(answer, table),
            start=answer.get("start"),
        )
    except (msgspec.ValidationError, LookupError, TypeError, ValueError) as error:
        return _malformed(error)


def _whole(value: object) -> int | None:
    """Return a whole number, None for anything else, which another Ray may have there."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def node_report(answer: Wire, table: StackTable) -> NodeReport:
    """Return the answer of `remote.node.read_node`.

    Raises:
        msgspec.ValidationError: it is something else.
    """
    gpus = answer.get("gpus", ())
    return NodeReport(
        hostname=answer["hostname"],
        processes={pid: process_probe(wire, table) for pid, wire in answer["processes"].items()},
        gpus=_unavailable(gpus)
        if isinstance(gpus, Mapping)
        else msgspec.convert(gpus, tuple[Gpu, ...]),
        spilled=_record(answer.get("spilled"), SpilledObjects),
        post_mortem=_record(answer.get("post_mortem"), PostMortem),
        logs=msgspec.convert(answer.get("logs") or {}, dict[str, LogTail]),
    )


def process_probe(wire: Wire, table: StackTable) -> ProcessProbe:
    """Return what a node tells of one process."""
    get = wire.get
    identity = get("identity")
    return ProcessProbe(
        state=get("state"),
        rss_bytes=get("rss_bytes"),
        command=get("command", ""),
        idle_s=get("idle_s") or {},
        cpu_times_s=get("cpu_times_s") or {},
        counters=_record(get("counters"), ActivityCounters),
        children=tuple(get("children") or ()),
        stack=_stack(get("stack"), table),
        environ=_environ(wire),
        recorder=_recorder(get("recorder")),
        start=get("start"),
        identity=identity_of(identity) if identity else NO_IDENTITY,
    )


def identity_of(variables: Mapping[str, str]) -> Identity:
    """Return the numbers in RANK, LOCAL_RANK, NODE_RANK and WORLD_SIZE."""
    rank, local_rank, node_rank, world_size = [
        int(text) if (text := variables.get(name)) and text.isdigit() else None
        for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")
    ]
    return Identity(rank=rank, local_rank=local_rank, node_rank=node_rank, world_size=world_size)


def _stack(wire: Wire | None, table: StackTable) -> StackDump | Unavailable:
    """Return the threads in py-spy's JSON, labelled."""
    if wire is None:
        return NOT_DUMPED

    if "json" not in wire:
        return _unavailable(wire)

    try:
        threads = labelled_threads(wire["json"], table)
    except PySpyUnreadable as error:
        return _malformed(error)

    if not threads:
        return NO_THREADS

    return StackDump(
        threads=threads,
        source="faulthandler" if wire.get("rung4") else "py-spy",
        pause_ms=wire.get("pause_ms", 0.0),
        note=wire.get("note", ""),
    )


def _recorder(wire: Wire | None) -> RecorderReport | Unavailable:
    if wire is None or "reason" in wire:
        return _unavailable(wire)

    return RecorderReport(
        collectives=_collectives(wire["collectives"], {}),
        longest_gap_s=wire["longest_gap_s"],
        newest_age_s=_newest_age_s(wire),
        arrivals=wire["arrivals"],
    )


def _newest_age_s(wire: Wire) -> float | None:
    """Return the age of a recorder's newest entry; that of its newest collective where only that is told."""
    told: float | None = wire.get("newest_age_s")
    entries = wire.get("collectives")
    ages = [entry["age_s"] for entry in entries] if isinstance(entries, (list, tuple)) else []
    return min(ages, default=None) if told is None else told


def _environ(wire: Wire) -> Environ | Unavailable:
    if "environment" in wire.get("unchanged", ()):
        return UNCHANGED

    return _part(wire.get("environ"), Environ)


def _absent(wire: Wire, name: str) -> Unavailable:
    """Return why a part of an answer is not there."""
    return UNCHANGED if name in wire.get("unchanged", ()) else _unavailable(wire.get(name))


def _part(wire: Wire | None, kind: type[T]) -> T | Unavailable:
    """Return a part of an answer, or why it could not be read."""
    if wire is None or "reason" in wire:
        return _unavailable(wire)

    return msgspec.convert(wire, kind)


def _record(wire: Wire | None, kind: type[T]) -> T | None:
    return msgspec.convert(wire, kind) if wire else None


def _unavailable(wire: Wire | None) -> Unavailable:
    if wire is None:
        return NOT_ASKED

    return _shared_unavailable(wire["reason"], wire["detail"])


@lru_cache(maxsize=1024)
def _shared_unavailable(reason: str, detail: str) -> Unavailable:
    """Return one record for all ranks that say the same."""
    return msgspec.convert({"reason": reason, "detail": detail}, Unavailable)


def _malformed(error: Exception) -> Unavailable:
    return Unavailable(reason="malformed", detail=str(error)[:200])


def _text(value: Any) -> str | None:
    return str(value) if value is not None else None


def _collectives(entries: Sequence[Wire], groups: Mapping[str, Group]) -> tuple[Collective, ...]:
    return tuple(
        [
            Collective(
                group=intern(entry["group"]),
                group_id=group.id if (group := groups.get(entry["group"])) else None,
                sequence=entry["sequence"],
                operation=intern(entry["operation"]),
                sizes=_shared_sizes(tuple(map(tuple, entry["sizes"]))),
                dtype=intern(entry["dtype"]),
                age_s=entry["age_s"],
                finished=entry["finished"],
                timeout_s=entry["timeout_s"],
            )
            for entry in entries
        ]
    )


def _groups(entries: Sequence[Wire], ranks: Mapping[str, Any]) -> dict[str, Group]:
    """Return by name the process groups of a rank's collectives whose ranks are known."""
    names = dict.fromkeys(entry["group"] for entry in entries)
    return {name: group for name in names if (group := _group(name, ranks.get(name)))}


def _group(name: str, ranks: Any) -> Group | None:
    """Return a group's record, the same one for all its ranks.

    It is found by the span that came over the wire: to hash all ranks of a group, once for each
    of them, would be quadratic in their number.
    """
    if isinstance(ranks, dict):
        return _spanned_group(name, ranks["first"], ranks["end"], ranks["stride"])

    return _listed_group(name, tuple(ranks)) if ranks else None


@lru_cache(maxsize=4096)
def _spanned_group(name: str, first: int, end: int, stride: int) -> Group:
    return _listed_group(name, _span(first, end, stride))


@lru_cache(maxsize=4096)
def _listed_group(name: str, ranks: tuple[int, ...]) -> Group:
    return Group(id=f"{name}:{_spelled(ranks)}", name=name, ranks=ranks)


def _spelled(ranks: tuple[int, ...]) -> str:
    """Return "0-7", "0-14/2" for every other rank, or with a checksum for uneven ones."""
    first, last = ranks[0], ranks[-1]
    stride = ranks[1] - first if len(ranks) > 1 else 1
    even = stride > 0 and ranks == tuple(range(first, last + 1, stride))

    if len(ranks) == 1:
        return str(first)

    if even:
        return f"{first}-{last}" if stride == 1 else f"{first}-{last}/{stride}"

    return f"{first}-{last}~{zlib.crc32(repr(ranks).encode()):08x}"


@lru_cache(maxsize=4096)
def _shared_sizes(sizes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """Return one tuple for all ranks whose collectives have these sizes."""
    return sizes


def group_members(ranks: Any) -> tuple[int, ...]:
    """Return the ranks of a group, from a list or from first, one past the last, and stride."""
    if isinstance(ranks, dict):
        return _span(ranks["first"], ranks["end"], ranks["stride"])

    return _shared_members(tuple(ranks or ()))


@lru_cache(maxsize=256)
def _span(first: int, end: int, stride: int) -> tuple[int, ...]:
    """Return one tuple for all ranks of a group: a thousand copies would be a million numbers."""
    return tuple(range(first, end, stride))


@lru_cache(maxsize=256)
def _shared_members(ranks: tuple[int, ...]) -> tuple[int, ...]:
    return ranks
