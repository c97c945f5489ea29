"""The ranks of a sample by what most detectors ask first: their state and their phase.

There are many detectors, and what they look for is rare: none should go through a hundred thousand
ranks to find nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.model import Phase, WorkerState


class RankIndex(NamedTuple):
    """Ranks in order, each in one list by state and in one by phase."""

    by_state: dict[WorkerState, list[RankContext]]
    by_phase: dict[Phase, list[RankContext]]


def _index(sample: AnalysisInput) -> RankIndex:
    """Return the index of a sample; its detectors share it."""
    by_state: dict[WorkerState, list[RankContext]] = {}
    by_phase: dict[Phase, list[RankContext]] = {}

    for member in sample.members:
        worker = member.worker
        by_state.setdefault(worker.state, []).append(member)
        by_phase.setdefault(worker.phase, []).append(member)

    return RankIndex(by_state, by_phase)


def in_state(sample: AnalysisInput, state: WorkerState) -> list[RankContext]:
    return sample.view(_index).by_state.get(state, [])


def in_phase(sample: AnalysisInput, phase: Phase) -> list[RankContext]:
    return sample.view(_index).by_phase.get(phase, [])
