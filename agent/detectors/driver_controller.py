"""What is above the ranks: a driver that hangs before or after `fit()`, a blocked controller."""

from __future__ import annotations

from typing import Literal

from dsray_inspect.agent.assemble.role_waits import is_fitting, main_thread
from dsray_inspect.agent.assemble.snapshot import RUN_ENDINGS, AnalysisInput
from dsray_inspect.agent.assemble.train_log import failures
from dsray_inspect.agent.detectors.detection import (
    STALLED_S,
    Detection,
    Facts,
    Place,
    place_of,
)
from dsray_inspect.agent.detectors.evidence.activity import between
from dsray_inspect.agent.detectors.evidence.object_producers import producers_of
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import Unavailable

LEAST_AGE_S = 8.0


class DriverBlocked(Facts, frozen=True, kw_only=True):
    """A driver that is idle in the user's code outside `fit()`."""

    pid: int
    node_ip: str
    place: Place
    innermost: str
    idle_s: float | None
    job_age_s: float
    run_before: Literal["none", "finished", "failed"]
    """How the run ended that it started last."""


class ControllerBlocked(Facts, frozen=True, kw_only=True):
    """A controller whose event loop is in the user's code, and why it did not answer."""

    pid: int
    node_ip: str
    place: Place
    silence: str


@detector(causes=("driver_blocked",), after=("resources_pending",))
def driver_blocked(sample: AnalysisInput) -> list[Detection]:
    """The job runs, none of its Train runs does, and its driver is idle in its own code."""
    job, actors = sample.observation.job, sample.observation.actors
    thread = main_thread(sample.driver.threads)
    age_s = sample.snapshot.taken_at - job.started_at

    if job.is_dead or (actors is not None and actors.alive and not _is_run_over(sample)):
        return []

    if thread is None or age_s < LEAST_AGE_S:
        return []

    mine = [frame for frame in thread.frames if frame.layer == "user"]
    importing = any(frame.file.startswith("<frozen importlib") for frame in thread.frames)

    if not mine or importing or _is_elsewhere(sample, thread) or not _is_idle(sample, thread):
        return []

    return [
        Detection(
            cause="driver_blocked",
            severity="error",
            ranks=(),
            facts=DriverBlocked(
                pid=job.driver_pid,
                node_ip=job.driver_ip,
                place=place_of(mine[-1]),
                innermost=thread.frames[-1].name,
                idle_s=thread.idle_s,
                job_age_s=age_s,
                run_before=_run_before(sample),
            ),
        )
    ]


def _is_run_over(sample: AnalysisInput) -> bool:
    """Tell whether a run has ended whose controller is still there."""
    run = sample.snapshot.run
    return run is not None and run.state in RUN_ENDINGS


def _run_before(sample: AnalysisInput) -> Literal["none", "finished", "failed"]:
    if sample.observation.actors is None:
        return "none"

    return "failed" if failures(sample.observation) else "finished"


def _is_elsewhere(sample: AnalysisInput, thread: Thread) -> bool:
    """Tell whether the driver waits for others: in a `fit()`, or in Ray while these are at work."""
    if any(is_fitting(thread) for thread in sample.driver.threads):
        return True

    is_in_ray = any(frame.layer == "ray" for frame in thread.frames)
    has_producer = any(producer.is_busy for producer in producers_of(sample))
    return is_in_ray and (has_producer or (thread.idle_s or 0.0) < STALLED_S)


def _is_idle(sample: AnalysisInput, thread: Thread) -> bool:
    """Tell whether the driver did nothing and was in the same functions in both samples."""
    earlier = sample.earlier
    before = main_thread(earlier.driver.threads) if earlier else None

    if earlier is None or before is None or _functions(before) != _functions(thread):
        return False

    apart_s = sample.snapshot.taken_at - earlier.snapshot.taken_at
    activity = between(
        apart_s,
        (before, earlier.observation.driver.counters),
        (thread, sample.observation.driver.counters),
    )
    return activity is not None and activity.thread_share is not None and activity.is_still


def _functions(thread: Thread) -> list[str]:
    return [frame.name for frame in thread.frames]


@detector(causes=("controller_blocked",), after=("stopped",))
def controller_blocked(sample: AnalysisInput) -> list[Detection]:
    """The controller does not answer, and a function of the user keeps its event loop."""
    actors = sample.observation.actors
    controller = actors.controller if actors else None
    answer = sample.observation.controller

    if controller is None or not controller.alive or not isinstance(answer, Unavailable):
        return []

    blocked = [
        mine[-1]
        for thread in sample.controller.threads
        if any("asyncio/base_events.py" in frame.file for frame in thread.frames)
        and (mine := [frame for frame in thread.frames if frame.layer == "user"])
    ]

    if not blocked:
        return []

    return [
        Detection(
            cause="controller_blocked",
            severity="error",
            ranks=(),
            facts=ControllerBlocked(
                pid=controller.pid,
                node_ip=controller.node_ip,
                place=place_of(blocked[0]),
                silence=str(answer),
            ),
        )
    ]
