"""The file locks that ranks are blocked on, and the ranks that hold them."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.model import Record


class LockWait(Record, frozen=True, kw_only=True):
    """A file lock that a rank is blocked on; without `holder_rank` no rank has it."""

    path: str | None
    holder_pid: int
    """0 where the kernel does not say."""
    holder_name: str
    holder_rank: int | None


def file_lock_waits(sample: AnalysisInput, member: RankContext) -> tuple[LockWait, ...]:
    """Return the locks that a rank is blocked on."""
    locks = member.counters.file_locks if member.counters else ()

    if not locks:
        return ()

    ranks = sample.view(ranks_by_process)
    return tuple(
        LockWait(
            path=lock.path,
            holder_pid=lock.holder,
            holder_name=lock.holder_name,
            holder_rank=ranks.get((member.worker.node_id, lock.holder)),
        )
        for lock in locks
    )


def ranks_by_process(sample: AnalysisInput) -> dict[tuple[str, int], int | None]:
    """Return the ranks of a sample by node and pid."""
    return {
        (member.worker.node_id, member.worker.pid): member.worker.rank for member in sample.members
    }
