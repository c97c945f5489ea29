"""What stands above the ranks: a driver that does not come to `fit()`, a controller that is stuck."""

from __future__ import annotations

from dsray_inspect.agent.assemble.role_waits import main_thread
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.evidence.activity import between
from dsray_inspect.agent.detectors.findings import STALLED_S, duration, place_of
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Finding
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import Unavailable

LEAST_AGE_S = 8.0


@detector(causes=("driver_blocked",), after=("resources_pending",))
def driver_blocked(facts: AnalysisInput) -> list[Finding]:
    """The job runs, has no Train run yet, and its driver stands still in its own code."""
    job, actors = facts.observation.job, facts.observation.actors
    thread = main_thread(facts.driver.threads)
    age_s = facts.snapshot.taken_at - job.started_at

    if actors is not None or job.is_dead or thread is None or age_s < LEAST_AGE_S:
        return []

    mine = [frame for frame in thread.frames if frame.layer == "user"]
    importing = any(frame.file.startswith("<frozen importlib") for frame in thread.frames)

    if not mine or importing or is_elsewhere(thread) or not stands_still(facts, thread):
        return []

    inner = mine[-1]
    idle = (
        f"last ran {duration(thread.idle_s)} ago" if thread.idle_s is not None else "stands still"
    )
    return [
        Finding(
            cause="driver_blocked",
            severity="error",
            ranks=(),
            summary=f"The driver is blocked in {place_of(inner)} and has not come to fit(): "
            "no worker was asked for.",
            evidence=(
                f"pid {job.driver_pid}: {idle}, in {thread.frames[-1].name} below {place_of(inner)}",
                f"the job is {duration(age_s)} old and has no TrainController",
            ),
            next_step=f"py-spy dump --pid {job.driver_pid}   (on {job.driver_ip})",
        )
    ]


def is_elsewhere(thread: Thread) -> bool:
    """Tell whether the driver waits for others: in `fit()`, or for a short time in Ray."""
    layers = {frame.layer for frame in thread.frames}
    return "ray_train" in layers or ("ray" in layers and (thread.idle_s or 0.0) < STALLED_S)


def stands_still(facts: AnalysisInput, thread: Thread) -> bool:
    """Tell whether the driver did nothing and was in the same place in both looks."""
    earlier = facts.earlier
    before = main_thread(earlier.driver.threads) if earlier else None

    if earlier is None or before is None or places(before) != places(thread):
        return False

    apart_s = facts.snapshot.taken_at - earlier.snapshot.taken_at
    motion = between(
        apart_s,
        (before, earlier.observation.driver.counters),
        (thread, facts.observation.driver.counters),
    )
    return motion is not None and motion.thread_share is not None and motion.is_still


def places(thread: Thread) -> list[str]:
    return [frame.name for frame in thread.frames]


@detector(causes=("controller_blocked",), after=("stopped",))
def controller_blocked(facts: AnalysisInput) -> list[Finding]:
    """The controller gives no answer, and a function of the user keeps its event loop."""
    actors = facts.observation.actors
    controller = actors.controller if actors else None
    answer = facts.observation.controller

    if controller is None or not controller.alive or not isinstance(answer, Unavailable):
        return []

    blocked = [
        (thread, mine[-1])
        for thread in facts.controller.threads
        if any("asyncio/base_events.py" in frame.file for frame in thread.frames)
        and (mine := [frame for frame in thread.frames if frame.layer == "user"])
    ]

    if not blocked:
        return []

    _, inner = blocked[0]
    return [
        Finding(
            cause="controller_blocked",
            severity="error",
            ranks=(),
            summary=f"The Train controller is blocked in {place_of(inner)}: "
            "it polls no worker and takes no report.",
            evidence=(
                f"pid {controller.pid}: its event loop is in {place_of(inner)}",
                f"rung 1: {answer}",
            ),
            next_step=f"py-spy dump --pid {controller.pid}   (on {controller.node_ip})",
        )
    ]
