"""Ranks that wait for input which Ray Data cannot bring: its actors lack resources, a task hangs."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import STALLED_S, Detection, Facts
from dsray_inspect.agent.detectors.evidence.activity import activity_of
from dsray_inspect.agent.detectors.evidence.collective_waits import waits
from dsray_inspect.agent.detectors.evidence.holders import (
    HeldBy,
    Shortage,
    held_by,
)
from dsray_inspect.agent.detectors.evidence.input_pipeline import (
    InputPipeline,
    LongTask,
    PendingActors,
    in_ray_data,
    input_pipeline,
)
from dsray_inspect.agent.detectors.registry import detector

LEAST_WAIT_S = 8.0
"""For so long a pipeline may take to bring up its actors."""


class InputActorsPending(Facts, frozen=True, kw_only=True):
    """Actors of the input pipeline that cannot be placed, and who has what they need."""

    waiting: tuple[int, ...]
    waited_s: float
    pending: tuple[PendingActors, ...]
    shortages: tuple[Shortage, ...]
    holders: tuple[HeldBy, ...]


class InputTaskStuck(Facts, frozen=True, kw_only=True):
    """Tasks of the job that do not return while the ranks wait for input."""

    waiting: tuple[int, ...]
    waited_s: float
    tasks: tuple[LongTask, ...]
    """Oldest first."""


@detector(causes=("data_stall",), after=("rendezvous_wait",))
def input_starved(sample: AnalysisInput) -> list[Detection]:
    """Every rank waits for input, or for a rank that does, and the pipeline brings none."""
    pipeline = sample.view(input_pipeline)

    if pipeline is None or not pipeline.is_at_fault or not _all_wait(sample):
        return []

    waited_s = min(_idle_s(sample), default=0.0)

    if waited_s < LEAST_WAIT_S:
        return []

    return _actors_pending(sample, pipeline, waited_s) or _task_stuck(pipeline, waited_s)


def _all_wait(sample: AnalysisInput) -> bool:
    """Tell whether each living rank is still in Ray Data, or in a collective with one that is."""
    inside = {id(wait.member) for wait in waits(sample)}

    for member in sample.members:
        if id(member) in inside or member.worker.state != "alive":
            continue

        activity = activity_of(sample, member)

        if not in_ray_data(member) or activity is None or not activity.is_still:
            return False

    return True


def _idle_s(sample: AnalysisInput) -> list[float]:
    return [
        member.worker.idle_s
        for member in sample.members
        if in_ray_data(member) and member.worker.idle_s is not None
    ]


def _actors_pending(
    sample: AnalysisInput, pipeline: InputPipeline, waited_s: float
) -> list[Detection]:
    if not pipeline.shortages:
        return []

    return [
        Detection(
            cause="data_stall",
            severity="error",
            ranks=(),
            facts=InputActorsPending(
                waiting=pipeline.ranks,
                waited_s=waited_s,
                pending=pipeline.pending,
                shortages=pipeline.shortages,
                holders=held_by(
                    sample, frozenset(shortage.name for shortage in pipeline.shortages)
                ),
            ),
        )
    ]


def _task_stuck(pipeline: InputPipeline, waited_s: float) -> list[Detection]:
    """A task that computes is slow at most, and is given time."""
    is_still = all(task.is_still for task in pipeline.tasks)

    if not pipeline.tasks or not (is_still or waited_s >= STALLED_S):
        return []

    return [
        Detection(
            cause="data_stall",
            severity="error" if is_still else "warning",
            ranks=(),
            facts=InputTaskStuck(waiting=pipeline.ranks, waited_s=waited_s, tasks=pipeline.tasks),
        )
    ]
