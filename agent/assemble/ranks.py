"""All ranks of a run, in order."""

from __future__ import annotations

from collections.abc import Container

from dsray_inspect.agent.assemble.groups import met_ranks
from dsray_inspect.agent.assemble.train_log import ranks_of
from dsray_inspect.agent.assemble.workers import RankContext, RunFacts, member_of
from dsray_inspect.agent.model import Group
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.rank_report import ControllerReport, ControllerWorker
from dsray_inspect.agent.unavailable import Unavailable


def members_of(
    observation: Observation, groups: tuple[Group, ...], entered: Container[tuple[str, int]]
) -> list[RankContext]:
    """Return all workers of the group in the order of their ranks, unknown ranks last.

    `entered`: the actor ids and pids of those that have been seen to enter a collective before.
    """
    rows = observation.actors.workers if observation.actors else ()
    known = {**_known_from_log(observation), **_known_to_controller(observation.controller)}
    run = RunFacts(
        observation=observation,
        nodes={node.node_id: node for node in observation.nodes},
        groups=groups,
        met=met_ranks(observation, groups),
        entered=entered,
    )
    members = [member_of(row, known.get(row.actor_id), run) for row in rows]
    return sorted(members, key=lambda member: (member.worker.rank is None, member.worker.rank or 0))


def _known_to_controller(
    report: ControllerReport | Unavailable,
) -> dict[str, ControllerWorker]:
    if isinstance(report, Unavailable):
        return {}

    return {worker.actor_id: worker for worker in report.workers}


def _known_from_log(observation: Observation) -> dict[str, ControllerWorker]:
    """Return the ranks of workers that have ended, as Ray Train logged them."""
    ranks = ranks_of(observation)
    rows = observation.actors.workers if observation.actors else ()
    places = {row.actor_id: (row.node_ip, row.pid) for row in rows}
    return {
        actor_id: ControllerWorker(actor_id=actor_id, rank=ranks[place])
        for actor_id, place in places.items()
        if place in ranks
    }
