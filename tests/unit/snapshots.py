"""Looks at a run that never was, made from one that was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dsray_inspect.agent.model import Snapshot, Worker

SNAPSHOTS = Path(__file__).parents[1] / "golden" / "snapshots"


def recorded(name: str) -> Snapshot:
    return msgspec.json.decode((SNAPSHOTS / f"{name}.json").read_bytes(), type=Snapshot)


def changed(look: Snapshot, after_s: float, *, rank: int | None = None, **of: Any) -> Snapshot:
    """Return the look as it would be later, with other values of one rank or of all."""
    workers = tuple(
        msgspec.structs.replace(one, **of) if rank in (None, one.rank) else one
        for one in look.workers
    )
    return msgspec.structs.replace(look, taken_at=look.taken_at + after_s, workers=workers)


def at_step(look: Snapshot, after_s: float, step: int) -> Snapshot:
    return changed(look, after_s, step=step)


def restarted(look: Snapshot, after_s: float, **of: Any) -> Snapshot:
    """Return the look at another worker group of the same run."""
    workers = tuple(
        msgspec.structs.replace(one, actor_id=f"new{one.rank}", pid=one.pid + 1000, **of)
        for one in look.workers
    )
    return msgspec.structs.replace(look, taken_at=look.taken_at + after_s, workers=workers)


def many_ranks(look: Snapshot, ranks: int) -> Snapshot:
    """Return a look at so many ranks, eight on a node."""
    pattern = look.workers[0]
    node = look.nodes[0]
    workers = tuple(worker_like(pattern, rank) for rank in range(ranks))
    nodes = tuple(
        msgspec.structs.replace(node, node_id=f"node{number}", hostname=f"host-{number}")
        for number in range(ranks // 8)
    )
    return msgspec.structs.replace(look, workers=workers, nodes=nodes)


def worker_like(pattern: Worker, rank: int) -> Worker:
    return msgspec.structs.replace(
        pattern,
        rank=rank,
        local_rank=rank % 8,
        node_rank=rank // 8,
        actor_id=f"actor{rank}",
        pid=10_000 + rank,
        node_id=f"node{rank // 8}",
        hostname=f"host-{rank // 8}",
    )
