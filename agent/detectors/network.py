"""Hosts that do not answer, and addresses that ranks cannot connect to."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.evidence.rank_index import in_phase
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Record, Worker


class SilentNode(Record, frozen=True, kw_only=True):
    """A node whose raylet does not answer, and why."""

    hostname: str
    ip: str
    why: str


class SilentRank(Record, frozen=True, kw_only=True):
    """A rank on such a node, and why it did not answer."""

    pid: int
    why: str


class SilentNodes(Facts, frozen=True, kw_only=True):
    """Nodes that Ray still lists as alive and whose raylets do not answer."""

    nodes: tuple[SilentNode, ...]
    silent_ranks: tuple[SilentRank, ...]


class Dialer(Record, frozen=True, kw_only=True):
    """A rank that tries to connect."""

    rank: int | None
    pid: int
    hostname: str
    master: str | None
    """Its MASTER_ADDR."""


class UnansweredDial(Facts, frozen=True, kw_only=True):
    """Addresses that do not answer the connections of some ranks."""

    addresses: tuple[str, ...]
    dialers: tuple[Dialer, ...]


@detector(causes=("network_unreachable",), after=("worker_dead",))
def network_unreachable(sample: AnalysisInput) -> list[Detection]:
    """Nodes or addresses that do not answer."""
    return [*_silent_nodes(sample), *_unanswered_dials(sample)]


def _silent_nodes(sample: AnalysisInput) -> list[Detection]:
    silent = {
        node.node_id: node
        for node in sample.observation.nodes
        if node.node_id in sample.observation.unreachable
    }
    workers = [
        member.worker for member in sample.members if silent and member.worker.node_id in silent
    ]

    if not workers:
        return []

    lost = [silent[node_id] for node_id in dict.fromkeys(worker.node_id for worker in workers)]
    return [
        Detection(
            cause="network_unreachable",
            severity="error",
            ranks=rank_numbers(workers),
            facts=SilentNodes(
                nodes=tuple(
                    SilentNode(
                        hostname=node.hostname,
                        ip=node.ip,
                        why=sample.observation.unreachable[node.node_id].detail,
                    )
                    for node in lost
                ),
                silent_ranks=tuple(
                    SilentRank(pid=worker.pid, why=worker.evidence.worker) for worker in workers
                ),
            ),
        )
    ]


def _unanswered_dials(sample: AnalysisInput) -> list[Detection]:
    """Ranks in the rendezvous whose connection to the store is not answered, in both samples."""
    joining = in_phase(sample, "init_process_group")
    before = {
        member.worker.actor_id: set(member.dials)
        for member in (sample.earlier.members if sample.earlier and joining else ())
    }
    alike: dict[tuple[str, ...], list[Worker]] = {}

    for member in joining:
        worker = member.worker
        dials = set(member.dials)
        again = sorted(dials & before.get(worker.actor_id, dials if not sample.earlier else set()))

        if again:
            alike.setdefault(tuple(again), []).append(worker)

    return [
        Detection(
            cause="network_unreachable",
            severity="error",
            ranks=rank_numbers(workers),
            facts=UnansweredDial(
                addresses=addresses, dialers=tuple(_dialer(worker) for worker in workers)
            ),
        )
        for addresses, workers in alike.items()
    ]


def _dialer(worker: Worker) -> Dialer:
    master = worker.env.get("MASTER_ADDR")
    return Dialer(
        rank=worker.rank,
        pid=worker.pid,
        hostname=worker.hostname,
        master=master.value if master else None,
    )
