"""What the driver and the controller wait on, in words, from their state and stacks."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.handles import PlacementGroup, ProcessHandle
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.rank_report import ControllerReport
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import Unavailable

SETUP_WAITS = (
    (ray.SETUP_TORCH[0], "every rank to join init_process_group"),
    (ray.BACKEND_ON_START[0], "the backend's set-up on every worker (init_process_group)"),
    (ray.INIT_CONTEXTS[0], "the workers' train context"),
    (ray.CREATE_WORKERS[0], "the worker actors to start"),
    (ray.GET_METADATA[0], "the worker actors to start"),
    (ray.SHUTDOWN_GROUP[0], "the worker group to shut down"),
)


def main_thread(threads: Sequence[Thread]) -> Thread | None:
    named = [thread for thread in threads if thread.name == "MainThread"]
    return named[0] if named else (threads[0] if threads else None)


def telling_thread(threads: Sequence[Thread]) -> Thread | None:
    """Return the thread in which Ray Train's code runs, else the main thread.

    An async actor's code runs in its event loop's thread, not on the main one.
    """
    inside = [
        thread for thread in threads if any(frame.layer == "ray_train" for frame in thread.frames)
    ]
    return max(inside, key=lambda thread: len(thread.frames)) if inside else main_thread(threads)


def driver_waits_on(threads: Sequence[Thread]) -> str | None:
    """Return what the driver's main thread does, None where its stack is not known."""
    thread = main_thread(threads)

    if thread is None:
        return None

    users = [frame for frame in thread.frames if frame.layer == "user"]
    place = f" at {short(users[-1].file)}:{users[-1].line}" if users else ""

    if is_fitting(thread):
        # In V1 Tune runs the training, in the driver itself.
        is_v1 = any(ray.TUNE_FOLDER in frame.file for frame in thread.frames)
        return f"fit() waits for {'its workers' if is_v1 else 'the TrainController'}{place}"

    if any(frame.name == ray.GET[0] and ray.GET[1] in frame.file for frame in thread.frames):
        return f"ray.get{place}"

    inner = thread.frames[-1] if thread.frames else None
    return f"{inner.name}{place}" if inner else None


def is_fitting(thread: Thread) -> bool:
    """Return whether a thread of the driver is in the `fit()` of Ray Train or Tune."""
    folders = (ray.TRAIN_FOLDER, ray.TUNE_FOLDER)
    return any(frame.name == ray.FIT[0] for frame in thread.frames) and any(
        folder in frame.file for frame in thread.frames for folder in folders
    )


def controller_waits_on(
    observation: Observation, row: ProcessHandle, threads: Sequence[Thread]
) -> str | None:
    """Return what the controller waits on: its own state, or else its blocked stack."""
    if not row.alive:
        return "its process to start" if row.starting else None

    report = observation.controller
    state = report.state if isinstance(report, ControllerReport) else None

    if state == ray.RUNNING_STATE and isinstance(report, ControllerReport):
        return f"polls {len(report.workers)} workers"

    pending = [
        group for group in observation.placement_groups if group.state in ray.PENDING_GROUP_STATES
    ]

    if pending:
        return f"a placement group: {needs(pending[-1])}"

    thread = telling_thread(threads)
    names = {frame.name for frame in thread.frames} if thread else set()

    for name, text in SETUP_WAITS:
        if name in names:
            return text

    return f"state {state}" if state else None


def needs(group: PlacementGroup) -> str:
    """Return the bundles of a placement group, as "2 × {CPU: 1, GPU: 8}"."""
    shapes = [
        ", ".join(f"{name}: {amount:g}" for name, amount in sorted(bundle.resources.items()))
        for bundle in group.bundles
    ]
    counted = {shape: shapes.count(shape) for shape in shapes}
    return " + ".join(f"{count} × {{{shape}}}" for shape, count in counted.items())


def short(file: str) -> str:
    return file.rpartition("/")[2]


def controller_state(report: ControllerReport | Unavailable, row: ProcessHandle) -> str:
    if isinstance(report, ControllerReport) and report.state:
        return report.state

    if row.starting:
        return "starting"

    return "unknown" if row.alive else "ended"
