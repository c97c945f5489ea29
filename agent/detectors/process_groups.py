"""Ranks that set up a process group (`new_group`, `init_process_group`) while others are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.blocked_in import cause_of, place
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, name_of, waits
from dsray_inspect.agent.detectors.evidence.rank_index import in_state
from dsray_inspect.agent.detectors.evidence.stall_attribution import Victims, blame
from dsray_inspect.agent.detectors.findings import duration, name_ranks, next_command, ranks
from dsray_inspect.agent.model import Finding, Phase

LATE_S = 5.0
"""A group that lacks a stuck rank for so long is an error."""
ON_THE_WAY: tuple[Phase, ...] = ("starting", "init_process_group", "unknown", "finished")


def elsewhere(facts: AnalysisInput, inside: Sequence[RankContext]) -> list[Finding]:
    """Blame ranks that do other things than to set up the group; nothing where there are none.

    Every rank must take part in making a group, also one that will not be in it.
    """
    here = set(map(id, inside))
    others = [
        one
        for one in in_state(facts, "alive")
        if id(one) not in here and one.worker.phase not in ON_THE_WAY
    ]
    waited_s = max((one.worker.idle_s or 0.0 for one in inside), default=0.0)

    if not others or waited_s < LATE_S:
        return []

    found = {id(wait.member): wait for wait in waits(facts)}
    waiting = [found[id(one)] for one in others if id(one) in found]
    late = [one for one in others if id(one) not in found and cause_of(one) is not None]

    if late:
        numbers = ranks(one.worker for one in (*inside, *(wait.member for wait in waiting)))
        return blame(facts, late, Victims(numbers, waited_s, place="init_process_group"))

    if len(waiting) == len(others) and all(wait.waited_s >= LATE_S for wait in waiting):
        return [divergence(facts, inside, waiting, waited_s)]

    return []


def divergence(
    facts: AnalysisInput, inside: Sequence[RankContext], waiting: Sequence[Wait], waited_s: float
) -> Finding:
    """Some set up a group and all others are in collectives: each waits for the other."""
    makers = ranks(one.worker for one in inside)
    others = ranks(wait.member.worker for wait in waiting)
    fewer = min(makers, others, key=len)
    blamed = tuple(sorted((*makers, *others))) if len(makers) == len(others) else fewer
    first = waiting[0]
    what = name_of(first.collective) if first.collective else "a collective"
    parts = (
        f"{name_ranks(makers)} in init_process_group, {place(inside[0])}",
        f"{name_ranks(others)} in {what}, {place(first.member)}",
    )
    return Finding(
        cause="rank_divergence",
        severity="error",
        ranks=blamed,
        summary=f"The ranks wait for one another for {duration(waited_s)}: {'; '.join(parts)}.",
        evidence=parts,
        next_step=next_command(facts, "stacks", blamed),
    )
