"""The pipe or socket that a rank's training thread is blocked on, and who has the other end."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.file_locks import ranks_by_process
from dsray_inspect.agent.model import Record


class OtherEnd(Record, frozen=True, kw_only=True):
    """A process with the other end; without `rank` it is no rank of the run."""

    pid: int
    name: str
    rank: int | None


class EndWait(Record, frozen=True, kw_only=True):
    """A pipe or socket that a rank reads from, or writes to, and gets no further."""

    writes: bool
    kind: str
    name: str
    """The path of a named pipe, or the remote address; empty where there is none."""
    others: tuple[OtherEnd, ...]


def end_waits(sample: AnalysisInput, member: RankContext) -> tuple[EndWait, ...]:
    """Return what a rank's training thread is blocked on."""
    tid = member.training.tid if member.training is not None else None
    calls = member.counters.blocked_calls if member.counters is not None else ()
    own = [call for call in calls if call.tid == tid]

    if not own:
        return ()

    ranks = sample.view(ranks_by_process)
    node = member.worker.node_id
    return tuple(
        EndWait(
            writes=call.call == "write",
            kind=call.kind,
            name=call.name,
            others=tuple(
                OtherEnd(pid=peer.pid, name=peer.name, rank=ranks.get((node, peer.pid)))
                for peer in call.peers
            ),
        )
        for call in own
    )
