"""Hosts that do not answer, and addresses that ranks dial in vain."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, ranks
from dsray_inspect.agent.model import OK, Finding


def network_unreachable(facts: Facts) -> list[Finding]:
    return [*silent_nodes(facts), *dialled_in_vain(facts)]


def silent_nodes(facts: Facts) -> list[Finding]:
    """Nodes that Ray still counts among the living, and whose raylet does not answer us."""
    found = []

    for node in facts.answers.nodes:
        why = facts.answers.reachable.get(node.node_id, OK)

        if why == OK:
            continue

        here = [one.worker for one in facts.members if one.worker.node_id == node.node_id]
        numbers = ranks(here)

        if here:
            found.append(
                Finding(
                    cause="network_unreachable",
                    severity="error",
                    ranks=numbers,
                    summary=f"{node.hostname} ({node.ip}) with {name_ranks(numbers)} "
                    f"cannot be reached: {why}.",
                    evidence=(
                        f"its raylet: {why}",
                        "Ray's node table still says that it lives",
                        *(f"pid {worker.pid}: {worker.evidence.worker}" for worker in here),
                    ),
                    next_step=f"ping {node.ip}",
                )
            )

    return found


def dialled_in_vain(facts: Facts) -> list[Finding]:
    """Ranks in the rendezvous whose connection to the store is not answered, in both looks."""
    found = []
    joining = [one for one in facts.members if one.worker.phase == "init_process_group"]
    before = {
        one.worker.actor_id: set(one.progress.get("dials", ()))
        for one in (facts.earlier.members if facts.earlier and joining else ())
    }

    for member in joining:
        worker = member.worker
        dials = set(member.progress.get("dials", ()))
        again = sorted(dials & before.get(worker.actor_id, dials if not facts.earlier else set()))

        if not again:
            continue

        master = worker.env.get("MASTER_ADDR")
        found.append(
            Finding(
                cause="network_unreachable",
                severity="error",
                ranks=ranks([worker]),
                summary=f"Rank {worker.rank} dials {', '.join(again)}, and nobody answers.",
                evidence=(
                    f"pid {worker.pid}: its connection to {again[0]} is in SYN_SENT",
                    *([f"MASTER_ADDR={master.value} in rank {worker.rank}"] if master else []),
                ),
                next_step=next_command(facts, "env", ranks([worker])),
            )
        )

    return found
