"""The processes that may produce what the ranks wait for, and so are worth a look inside."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.stacks.phase import training_thread

WAITS_S = 3.0
"""A training thread that waits for less is not worth the reads."""
MOST_TASKS = 4
MOST_COORDINATORS = 4


def wait_for_input(observation: Observation) -> bool:
    """Tell whether any rank has waited for Ray Data or an object of Ray's for a while."""
    return any(_waits_for_input(report) for report in observation.ranks.values())


def producing_processes(observation: Observation) -> list[tuple[str, int]]:
    """Return node and pid of what Ray Data and tasks do for ranks that wait for them."""
    return list(dict.fromkeys((*_tasks(observation), *_coordinators(observation))))


def _waits_for_input(report: object) -> bool:
    """Tell whether a rank waits for Ray Data or an object of Ray's."""
    thread = training_thread(report.threads) if isinstance(report, RankReport) else None

    if thread is None or (thread.idle_s or 0.0) < WAITS_S:
        return False

    return thread.stack.in_ray_data or thread.stack.object_wait is not None


def _tasks(observation: Observation) -> Iterator[tuple[str, int]]:
    yield from ((task.node_id, task.pid) for task in (observation.tasks or ())[:MOST_TASKS])


def _coordinators(observation: Observation) -> Iterator[tuple[str, int]]:
    found = [row for row in observation.helpers if row.class_name == ray.SPLIT_COORDINATOR]
    yield from ((row.node_id, row.pid) for row in found[:MOST_COORDINATORS])
