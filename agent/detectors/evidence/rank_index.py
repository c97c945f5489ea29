"""The ranks of a look by what most detectors ask first: their state, and their phase.

Detectors are many and what they look for is rare: of a hundred thousand ranks none goes through
all to find nobody.
"""

from __future__ import annotations

from typing import NamedTuple

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.model import Phase, WorkerState


class RankIndex(NamedTuple):
    """Members in the order of their ranks, each in one list of both."""

    by_state: dict[WorkerState, list[RankContext]]
    by_phase: dict[Phase, list[RankContext]]


def _index(facts: AnalysisInput) -> RankIndex:
    by_state: dict[WorkerState, list[RankContext]] = {}
    by_phase: dict[Phase, list[RankContext]] = {}

    for member in facts.members:
        worker = member.worker
        by_state.setdefault(worker.state, []).append(member)
        by_phase.setdefault(worker.phase, []).append(member)

    return RankIndex(by_state, by_phase)


def in_state(facts: AnalysisInput, state: WorkerState) -> list[RankContext]:
    return facts.view(_index).by_state.get(state, [])


def in_phase(facts: AnalysisInput, phase: Phase) -> list[RankContext]:
    return facts.view(_index).by_phase.get(phase, [])
