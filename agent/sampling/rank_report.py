"""What a rank told of itself, made from its answer as that comes.

The answer itself is let go: a hundred thousand of them, as they come, take a gigabyte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from sys import intern
from typing import Any

import msgspec

from dsray_inspect.agent.model import Collective, DeepSpeed, Record, Thread
from dsray_inspect.agent.stacks.decode import threads_inside

ENVIRONMENT = ("env", "set_after_exec", "from_raylet")
NOTHING: Mapping[str, Any] = {}


class Identity(Record, frozen=True, kw_only=True):
    """The place of a process in its group, as its own variables have it."""

    rank: int | None = None
    local_rank: int | None = None
    node_rank: int | None = None
    world_size: int | None = None


NOBODY = Identity()


def identity_of(variables: Mapping[str, str]) -> Identity:
    """Return the numbers in RANK, LOCAL_RANK, NODE_RANK and WORLD_SIZE."""
    rank, local_rank, node_rank, world_size = [
        int(text) if (text := variables.get(name)) and text.isdigit() else None
        for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")
    ]
    return Identity(rank=rank, local_rank=local_rank, node_rank=node_rank, world_size=world_size)


class RankReport(Record, frozen=True, kw_only=True):
    """One rank's answer. What it was not asked for, or could not tell, is empty or None."""

    threads: tuple[Thread, ...] = ()
    identity: Identity = NOBODY
    environ: Mapping[str, Any] = NOTHING
    """Its variables and where they come from; see `remote.environ.compare_environ`."""
    deepspeed: DeepSpeed | None = None
    deepspeed_why: str = ""
    step: int | None = None
    collectives: tuple[Collective, ...] = ()
    collectives_why: str = ""
    longest_gap_s: float | None = None
    arrivals: Mapping[str, Any] = NOTHING
    """By process group: (sequence, Unix ns) of its newest collectives."""
    progress: Mapping[str, Any] = NOTHING
    """What `remote.activity_counters` read."""
    health: Mapping[str, Any] = NOTHING
    """What `remote.training_health` read of the engine."""
    locks: tuple[Mapping[str, Any], ...] = ()
    """The compile locks that it waits for; see `remote.locks`."""
    versions: Mapping[str, str] = NOTHING
    start: Any = None
    """The record of its start; see `remote.startup_record`."""
    builds: Sequence[Mapping[str, Any]] | None = None
    train_s: Mapping[str, float] = NOTHING
    failed: tuple[str, ...] = ()
    """What went wrong in a part of the read."""
    pause_ms: float = 0.0


def told(answer: Mapping[str, Any]) -> RankReport:
    """Return an answer of `remote.reads`, its frames labelled."""
    get = answer.get
    engine = get("deepspeed")
    return RankReport(
        threads=threads_inside(answer),
        identity=identity_of(get("identity") or NOTHING),
        environ={name: answer[name] for name in ENVIRONMENT} if "env" in answer else NOTHING,
        deepspeed=msgspec.convert(engine, DeepSpeed) if engine else None,
        deepspeed_why=intern(get("deepspeed_why") or ""),
        step=get("step"),
        collectives=collectives_of(get("collectives") or (), get("group_ranks") or NOTHING),
        collectives_why=intern(get("collectives_why") or ""),
        longest_gap_s=get("longest_gap_s"),
        arrivals=get("arrivals") or NOTHING,
        progress=get("progress") or NOTHING,
        health=get("health") or NOTHING,
        locks=tuple(get("locks") or ()),
        versions=get("versions") or NOTHING,
        start=get("start"),
        builds=get("builds"),
        train_s=get("train_s") or NOTHING,
        failed=tuple(get("failed") or ()),
        pause_ms=get("pause_ms", 0.0),
    )


def collectives_of(
    entries: Sequence[Mapping[str, Any]], ranks: Mapping[str, Any]
) -> tuple[Collective, ...]:
    return tuple(
        [
            Collective(
                group=intern(one["group"]),
                ranks=group_members(ranks.get(one["group"])),
                sequence=one["sequence"],
                operation=intern(one["operation"]),
                sizes=shared(tuple(map(tuple, one["sizes"]))),
                dtype=intern(one["dtype"]),
                age_s=one["age_s"],
                finished=one["finished"],
                timeout_s=one["timeout_s"],
            )
            for one in entries
        ]
    )


@lru_cache(maxsize=4096)
def shared(sizes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """Return one tuple for all ranks whose collectives have these sizes."""
    return sizes


def group_members(ranks: Any) -> tuple[int, ...]:
    """Return the ranks of a group, from a list or from first, one past the last, and stride."""
    if isinstance(ranks, dict):
        return span(ranks["first"], ranks["end"], ranks["stride"])

    return tuple(ranks or ())


@lru_cache(maxsize=256)
def span(first: int, end: int, stride: int) -> tuple[int, ...]:
    """Return one tuple for all ranks of a group: a thousand copies would be a million numbers."""
    return tuple(range(first, end, stride))
