"""What is known of a live job's launch: its ranks, machines, resources, program and launcher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, get_args

from dsray_inspect.agent.compat.ray import SPLIT_COORDINATOR, V1_MODULE, V2_MODULE
from dsray_inspect.agent.handles import Candidate, ProcessHandle
from dsray_inspect.agent.launch.plan import LiveKind, PlannedNode, Program, TrainingFunction
from dsray_inspect.agent.launch.program import (
    has_local_rank,
    program_of_entrypoint,
    program_of_rank,
)
from dsray_inspect.agent.model import EnvVar, Frame, Record, Snapshot, Worker

_KINDS: Final = frozenset(get_args(LiveKind))
_RAYS: Final = ("ray_train", "ray_actors")
_MODULES_OF_DATA: Final = "ray.data"


class LiveRank(Record, frozen=True, kw_only=True):
    """One rank of the live job."""

    rank: int
    env: dict[str, EnvVar]
    rss_bytes: int | None


class LiveJob(Record, frozen=True, kw_only=True):
    """A live job, as far as another launcher has to know it."""

    name: str
    kind: LiveKind
    nodes: tuple[PlannedNode, ...]
    ranks: dict[int, LiveRank]
    missing_ranks: tuple[int, ...]
    """Ranks of the world that nobody saw; they are in no node."""
    entrypoint: str
    program: Program
    has_local_rank_argument: bool
    """Whether its launcher gives every rank `--local_rank`, as deepspeed does."""
    function: TrainingFunction | None
    versions: dict[str, str]
    uses_deepspeed: bool
    data_actors: tuple[str, ...]
    """Classes of the job's actors that belong to Ray Data."""
    past_groups: int
    """How many worker groups the run had before this one."""

    @property
    def is_rays(self) -> bool:
        return self.kind in _RAYS

    @property
    def world_size(self) -> int:
        return sum(len(node.ranks) for node in self.nodes)

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of a variable over all ranks, each once, in the ranks' order."""
        found = [live.env[name].value for live in self.ranks.values() if name in live.env]
        return tuple(dict.fromkeys(found))


def facts_of(
    candidate: Candidate, snapshot: Snapshot, helpers: Iterable[ProcessHandle] = ()
) -> LiveJob:
    """Return what is known of the launch; `helpers` are the job's actors that are no ranks."""
    rows = candidate.actors.workers if candidate.actors else ()
    workers = sorted(
        (worker for worker in snapshot.workers if worker.rank is not None),
        key=lambda worker: worker.rank or 0,
    )
    kind = _kind_of(rows)
    return LiveJob(
        name=snapshot.job.label,
        kind=kind,
        nodes=_nodes_of(workers, rows, snapshot),
        ranks={
            worker.rank: LiveRank(rank=worker.rank, env=worker.env, rss_bytes=worker.rss_bytes)
            for worker in workers
            if worker.rank is not None
        },
        missing_ranks=_missing(workers),
        entrypoint=snapshot.job.entrypoint,
        program=(
            program_of_entrypoint(candidate.job.entrypoint)
            if kind in _RAYS
            else program_of_rank(next((row.argv for row in rows if row.argv), ()))
        ),
        has_local_rank_argument=any(map(has_local_rank, (row.argv for row in rows))),
        function=_function_of(snapshot),
        versions=next((worker.versions for worker in workers if worker.versions), {}),
        uses_deepspeed=_uses_deepspeed(workers, snapshot),
        data_actors=tuple(sorted({row.class_name for row in helpers if _is_datas(row)})),
        past_groups=candidate.actors.past_groups if candidate.actors else 0,
    )


def _kind_of(rows: Sequence[ProcessHandle]) -> LiveKind:
    """Return who started the ranks; outside Ray their class is the kind of their world."""
    class_name, module = (rows[0].class_name, rows[0].module) if rows else ("", "")

    if not module and class_name in _KINDS:
        return class_name  # type: ignore[return-value]  # one of its words

    return "ray_train" if module.startswith((V1_MODULE, V2_MODULE)) else "ray_actors"


def _nodes_of(
    workers: Sequence[Worker], rows: Sequence[ProcessHandle], snapshot: Snapshot
) -> tuple[PlannedNode, ...]:
    """Return the nodes with ranks in the order of their first rank."""
    by_node: dict[str, list[Worker]] = {}

    for worker in workers:
        by_node.setdefault(worker.node_id, []).append(worker)

    handles = {row.actor_id: row for row in rows}
    on_gpus = {pid for node in snapshot.nodes for gpu in node.gpus for pid in gpu.pids}
    return tuple(
        PlannedNode(
            ip=there[0].node_ip,
            hostname=there[0].hostname,
            ranks=tuple(worker.rank for worker in there if worker.rank is not None),
            cpus=_sum(_reserved(handles.get(worker.actor_id), "CPU") for worker in there),
            gpus=_sum(_gpus(worker, handles.get(worker.actor_id), on_gpus) for worker in there),
        )
        for there in by_node.values()
    )


def _reserved(row: ProcessHandle | None, resource: str) -> float | None:
    """Return how much of a resource Ray reserved; in a placement group its name is `CPU_group_…`."""
    if row is None or not row.required:
        return None

    whole = [
        amount
        for name, amount in row.required.items()
        if name == resource or (name.startswith(f"{resource}_group_") and name.count("_") == 2)
    ]
    return max(whole, default=0.0)


def _gpus(worker: Worker, row: ProcessHandle | None, on_gpus: set[int]) -> float | None:
    reserved = _reserved(row, "GPU")

    if reserved is not None:
        return reserved

    return 1.0 if worker.pid in on_gpus else 0.0


def _sum(amounts: Iterable[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return round(sum(known), 4) if known else None


def _missing(workers: Sequence[Worker]) -> tuple[int, ...]:
    size = max((worker.world_size or 0 for worker in workers), default=0)
    there = {worker.rank for worker in workers}
    return tuple(rank for rank in range(size) if rank not in there)


def _function_of(snapshot: Snapshot) -> TrainingFunction | None:
    """Return the user's outermost function that has a name of its own."""
    for group in snapshot.stacks.groups:
        if group.role == "worker":
            frame = next(filter(_is_users, group.frames), None)

            if frame is not None:
                return TrainingFunction(
                    name=frame.qualname or frame.name, file=frame.file, line=frame.line
                )

    return None


def _is_users(frame: Frame) -> bool:
    return frame.layer == "user" and not frame.name.startswith("<")


def _uses_deepspeed(workers: Sequence[Worker], snapshot: Snapshot) -> bool:
    """Return whether ranks have loaded DeepSpeed, or are in it; their launcher may be its own."""
    return any("deepspeed" in worker.versions for worker in workers) or any(
        frame.layer == "deepspeed"
        for group in snapshot.stacks.groups
        if group.role == "worker"
        for frame in group.frames
    )


def _is_datas(row: ProcessHandle) -> bool:
    return row.class_name == SPLIT_COORDINATOR or row.module.startswith(_MODULES_OF_DATA)
