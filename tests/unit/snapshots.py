"""Snapshots of runs that never existed, derived from recorded ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dsray_inspect.agent.model import EnvVar, Snapshot, Worker

SNAPSHOTS = Path(__file__).parents[1] / "golden" / "snapshots"


def recorded(name: str) -> Snapshot:
    return msgspec.json.decode((SNAPSHOTS / f"{name}.json").read_bytes(), type=Snapshot)


def changed(snapshot: Snapshot, after_s: float, *, rank: int | None = None, **of: Any) -> Snapshot:
    """Return the snapshot some time later, with other values for one rank or for all."""
    workers = tuple(
        msgspec.structs.replace(worker, **of) if rank in (None, worker.rank) else worker
        for worker in snapshot.workers
    )
    return msgspec.structs.replace(snapshot, taken_at=snapshot.taken_at + after_s, workers=workers)


def at_step(snapshot: Snapshot, after_s: float, step: int) -> Snapshot:
    return changed(snapshot, after_s, step=step)


def restarted(snapshot: Snapshot, after_s: float, **of: Any) -> Snapshot:
    """Return a later snapshot with another worker group of the same run."""
    workers = tuple(
        msgspec.structs.replace(worker, actor_id=f"new{worker.rank}", pid=worker.pid + 1000, **of)
        for worker in snapshot.workers
    )
    return msgspec.structs.replace(snapshot, taken_at=snapshot.taken_at + after_s, workers=workers)


def many_ranks(snapshot: Snapshot, ranks: int) -> Snapshot:
    """Return a snapshot with this many ranks, eight on a node."""
    pattern = snapshot.workers[0]
    node = snapshot.nodes[0]
    workers = tuple(worker_like(pattern, rank) for rank in range(ranks))
    nodes = tuple(
        msgspec.structs.replace(node, node_id=f"node{number}", hostname=f"host-{number}")
        for number in range(ranks // 8)
    )
    return msgspec.structs.replace(snapshot, workers=workers, nodes=nodes)


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


def with_env(
    snapshot: Snapshot, name: str, value: str | None, *, rank: int | None = None
) -> Snapshot:
    """Return the snapshot with a variable set, or without it, on one rank or on all."""

    def of(worker: Worker) -> Worker:
        env = {known: held for known, held in worker.env.items() if known != name}
        env |= {} if value is None else {name: EnvVar(value=value, source="runtime_env")}
        return msgspec.structs.replace(worker, env=env)

    return _with_workers(snapshot, of, rank)


def with_setting(snapshot: Snapshot, key: str, value: str) -> Snapshot:
    def of(worker: Worker) -> Worker:
        assert worker.deepspeed is not None
        config = {**worker.deepspeed.config, key: value}
        engine = msgspec.structs.replace(worker.deepspeed, config=config)
        return msgspec.structs.replace(worker, deepspeed=engine)

    return _with_workers(snapshot, of, None)


def _with_workers(snapshot: Snapshot, of: Any, rank: int | None) -> Snapshot:
    workers = tuple(
        of(worker) if rank in (None, worker.rank) else worker for worker in snapshot.workers
    )
    return msgspec.structs.replace(snapshot, workers=workers)
