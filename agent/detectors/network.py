"""Hosts that do not answer, and addresses that ranks dial in vain."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.evidence.rank_index import in_phase
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, ranks
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import OK, Finding, Worker

MOST_HOSTS = 4


@detector(causes=("network_unreachable",), after=("worker_dead",))
def network_unreachable(facts: AnalysisInput) -> list[Finding]:
    return [*silent_nodes(facts), *dialled_in_vain(facts)]


def silent_nodes(facts: AnalysisInput) -> list[Finding]:
    """Nodes that Ray still counts among the living, and whose raylet does not answer us."""
    silent = {
        node.node_id: node
        for node in facts.observation.nodes
        if facts.observation.reachable.get(node.node_id, OK) != OK
    }
    workers = [one.worker for one in facts.members if silent and one.worker.node_id in silent]

    if not workers:
        return []

    lost = [silent[node_id] for node_id in dict.fromkeys(one.node_id for one in workers)]
    whys = [facts.observation.reachable[node.node_id] for node in lost]
    hosts = [f"{node.hostname} ({node.ip})" for node in lost]
    shown = ", ".join(hosts[:MOST_HOSTS]) + (" …" if len(hosts) > MOST_HOSTS else "")
    return [
        Finding(
            cause="network_unreachable",
            severity="error",
            ranks=ranks(workers),
            summary=f"{shown if len(hosts) == 1 else f'{len(hosts)} nodes, {shown},'} "
            f"with {name_ranks(ranks(workers))} cannot be reached: {whys[0]}.",
            evidence=(
                *(f"the raylet of {host}: {why}" for host, why in zip(hosts, whys, strict=True)),
                f"Ray's node table still says that {'it lives' if len(hosts) == 1 else 'they live'}",
                *(f"pid {one.pid}: {one.evidence.worker}" for one in workers),
            ),
            next_step=f"ping {lost[0].ip}",
        )
    ]


def dialled_in_vain(facts: AnalysisInput) -> list[Finding]:
    """Ranks in the rendezvous whose connection to the store is not answered, in both looks."""
    joining = in_phase(facts, "init_process_group")
    before = {
        one.worker.actor_id: set(one.dials)
        for one in (facts.earlier.members if facts.earlier and joining else ())
    }
    alike: dict[tuple[str, ...], list[Worker]] = {}

    for member in joining:
        worker = member.worker
        dials = set(member.dials)
        again = sorted(dials & before.get(worker.actor_id, dials if not facts.earlier else set()))

        if again:
            alike.setdefault(tuple(again), []).append(worker)

    return [unanswered(facts, addresses, workers) for addresses, workers in alike.items()]


def unanswered(
    facts: AnalysisInput, addresses: Sequence[str], workers: Sequence[Worker]
) -> Finding:
    numbers = ranks(workers)
    masters = {one.rank: one.env["MASTER_ADDR"] for one in workers if "MASTER_ADDR" in one.env}
    return Finding(
        cause="network_unreachable",
        severity="error",
        ranks=numbers,
        summary=f"{name_ranks(numbers).capitalize()} {'dials' if len(workers) == 1 else 'dial'} "
        f"{', '.join(addresses)}, and nobody answers.",
        evidence=(
            *(
                f"pid {one.pid} on {one.hostname}: its connection to {addresses[0]} is in SYN_SENT"
                for one in workers
            ),
            *(f"MASTER_ADDR={value.value} in rank {rank}" for rank, value in masters.items()),
        ),
        next_step=next_command(facts, "env", numbers),
    )
