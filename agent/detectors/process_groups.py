"""Ranks that create a process group (`new_group`, `init_process_group`) while others are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.collective_mismatch import MutualWait, RanksIn
from dsray_inspect.agent.detectors.detection import Detection, rank_numbers
from dsray_inspect.agent.detectors.evidence.blocked_in import cause_of, where
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, waits
from dsray_inspect.agent.detectors.evidence.rank_index import in_state
from dsray_inspect.agent.detectors.evidence.stall_attribution import Victims
from dsray_inspect.agent.detectors.stall import blame
from dsray_inspect.agent.model import Phase

LATE_S = 5.0
"""A group that lacks a stuck rank for this long is an error."""
ON_THE_WAY: tuple[Phase, ...] = ("starting", "init_process_group", "unknown", "finished")


def elsewhere(sample: AnalysisInput, inside: Sequence[RankContext]) -> list[Detection]:
    """Blame ranks that do anything but create the group; nothing where there are none.

    Every rank must take part in creating a group, even one that will not be in it.
    """
    here = set(map(id, inside))
    others = [
        member
        for member in in_state(sample, "alive")
        if id(member) not in here and member.worker.phase not in ON_THE_WAY
    ]
    waited_s = max((member.worker.idle_s or 0.0 for member in inside), default=0.0)

    if not others or waited_s < LATE_S:
        return []

    found = {id(wait.member): wait for wait in waits(sample)}
    waiting = [found[id(member)] for member in others if id(member) in found]
    late = [member for member in others if id(member) not in found and cause_of(member) is not None]

    if late:
        numbers = rank_numbers(
            member.worker for member in (*inside, *(wait.member for wait in waiting))
        )
        victims = Victims(ranks=numbers, waited_s=waited_s, waiting_in="init_process_group")
        return blame(sample, late, victims)

    if len(waiting) == len(others) and all(wait.waited_s >= LATE_S for wait in waiting):
        return [_divergence(inside, waiting, waited_s)]

    return []


def _divergence(
    inside: Sequence[RankContext], waiting: Sequence[Wait], waited_s: float
) -> Detection:
    """Some create a group and all others are in collectives: each waits for the other."""
    creators = rank_numbers(member.worker for member in inside)
    others = rank_numbers(wait.member.worker for wait in waiting)
    fewer = min(creators, others, key=len)
    first = waiting[0]
    return Detection(
        cause="rank_divergence",
        severity="error",
        ranks=tuple(sorted((*creators, *others))) if len(creators) == len(others) else fewer,
        facts=MutualWait(
            waited_s=waited_s,
            parts=(
                RanksIn(ranks=creators, waiting_in="init_process_group", where=where(inside[0])),
                RanksIn(
                    ranks=others,
                    waiting_in=first.collective or "collective",
                    where=where(first.member),
                ),
            ),
        ),
    )
