"""The process groups of a sample, each once, however many ranks reported it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dsray_inspect.agent.model import Group
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.unavailable import Unavailable


def groups_of(observation: Observation) -> tuple[Group, ...]:
    """Return each process group of the ranks' collectives once, by the order of their names."""
    groups = {
        group.id: group
        for report in observation.ranks.values()
        if isinstance(report, RankReport)
        for group in report.groups
    }
    return tuple(sorted(groups.values(), key=lambda group: (group.name, group.ranks[0], group.id)))


MEETINGS = ("all_reduce", "allreduce", "reduce_scatter", "all_gather", "allgather", "barrier")
"""What the names of collectives begin with that no rank leaves before all have entered them."""


def met_ranks(observation: Observation, groups: Iterable[Group]) -> frozenset[int]:
    """Return the ranks that have entered a collective, as a peer has left one with them."""
    met = {
        collective.group_id
        for report in observation.ranks.values()
        if isinstance(report, RankReport) and not isinstance(report.collectives, Unavailable)
        for collective in report.collectives
        if collective.finished and collective.operation.startswith(MEETINGS)
    }
    return frozenset(rank for group in groups if group.id in met for rank in group.ranks)


def group_ids_of(rank: int | None, groups: Iterable[Group]) -> Mapping[str, str]:
    """Return by name the ids of the process groups that a rank is in."""
    return {group.name: group.id for group in groups if rank in group.ranks}
