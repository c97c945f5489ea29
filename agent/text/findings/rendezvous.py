"""Ranks that wait in `init_process_group`."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.rendezvous import Disagreement, MissingRanks, RankPhase
from dsray_inspect.agent.text.findings.wording import NextCommand, Words, words
from dsray_inspect.agent.text.humanize import agree, name_ranks, sentence


@words.register
def disagreement(facts: Disagreement, detection: Detection) -> Words:
    odd = detection.ranks
    values = ", ".join(f"{name_ranks(ranks)}: {value}" for value, ranks in facts.values)
    return Words(
        summary=f"{sentence(name_ranks(odd))} {agree(odd, 'has', 'have')} a different "
        f"{facts.variable} from the others: {values}.",
        evidence=(f"{facts.variable}: {values}", *map(_phase, facts.phases)),
        next_step=NextCommand(command="env", ranks=odd),
    )


@words.register
def missing_ranks(facts: MissingRanks, detection: Detection) -> Words:
    missing, inside = detection.ranks, facts.inside
    rest = (
        f"{name_ranks(missing)} {agree(missing, 'has', 'have')} not reached it"
        if missing
        else "all ranks are in it"
    )
    return Words(
        summary=f"{sentence(name_ranks(inside))} {agree(inside, 'is', 'are')} waiting in "
        f"init_process_group; {rest}.",
        evidence=tuple(map(_phase, facts.phases)),
    )


def _phase(rank: RankPhase) -> str:
    function = f", {rank.function}" if rank.function else ""
    silence = f" ({rank.silence})" if rank.silence else ""
    return f"{name_ranks([rank.rank])}: {rank.phase}{function}{silence}"
