"""The ranks of a look by what most detectors ask first: their state, and their phase.

Detectors are many and what they look for is rare: of a hundred thousand ranks none goes through
all to find nobody.
"""

from __future__ import annotations

from typing import NamedTuple

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.model import Phase, WorkerState
from dsray_inspect.agent.stacks.memo import of_newest


class Census(NamedTuple):
    """Members in the order of their ranks, each in one list of both."""

    by_state: dict[WorkerState, list[Member]]
    by_phase: dict[Phase, list[Member]]


@of_newest
def census_of(members: tuple[Member, ...]) -> Census:
    """Return the census of a look; the detectors of one look share it."""
    by_state: dict[WorkerState, list[Member]] = {}
    by_phase: dict[Phase, list[Member]] = {}

    for member in members:
        worker = member.worker
        by_state.setdefault(worker.state, []).append(member)
        by_phase.setdefault(worker.phase, []).append(member)

    return Census(by_state, by_phase)


def in_state(facts: Facts, state: WorkerState) -> list[Member]:
    return census_of(facts.members).by_state.get(state, [])


def in_phase(facts: Facts, phase: Phase) -> list[Member]:
    return census_of(facts.members).by_phase.get(phase, [])
