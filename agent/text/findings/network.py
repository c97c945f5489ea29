"""Hosts and addresses that do not answer."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.network import SilentNodes, UnansweredDial
from dsray_inspect.agent.text.findings.wording import NextCommand, Words, words
from dsray_inspect.agent.text.humanize import agree, name_ranks, sentence

MOST_HOSTS = 4


@words.register
def silent_nodes(facts: SilentNodes, detection: Detection) -> Words:
    hosts = [f"{node.hostname} ({node.ip})" for node in facts.nodes]
    shown = ", ".join(hosts[:MOST_HOSTS]) + (" …" if len(hosts) > MOST_HOSTS else "")
    which = agree(hosts, shown, f"{len(hosts)} nodes, {shown}")
    return Words(
        summary=f"{which}, which {agree(hosts, 'runs', 'run')} {name_ranks(detection.ranks)}, "
        f"cannot be reached: {facts.nodes[0].why}.",
        evidence=(
            *(f"the raylet of {node.hostname} ({node.ip}): {node.why}" for node in facts.nodes),
            f"Ray's node table still lists {agree(hosts, 'it', 'them')} as alive",
            *(f"pid {rank.pid}: {rank.why}" for rank in facts.silent_ranks),
        ),
        next_step=f"ping {facts.nodes[0].ip}",
    )


@words.register
def unanswered_dial(facts: UnansweredDial, detection: Detection) -> Words:
    ranks = detection.ranks
    return Words(
        summary=f"{sentence(name_ranks(ranks))} {agree(ranks, 'is', 'are')} connecting to "
        f"{', '.join(facts.addresses)}, and nothing answers.",
        evidence=(
            *(
                f"pid {dialer.pid} on {dialer.hostname}: its connection to {facts.addresses[0]} "
                "is in SYN_SENT"
                for dialer in facts.dialers
            ),
            *(
                f"MASTER_ADDR={dialer.master} in {name_ranks([dialer.rank])}"
                for dialer in facts.dialers
                if dialer.master is not None
            ),
        ),
        next_step=NextCommand(command="env", ranks=ranks),
    )
