"""What a rank is doing, read from its threads: which one trains, and the phase."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.model import Frame, Phase
from dsray_inspect.agent.stacks.frame_rules import mark_of, path_of
from dsray_inspect.agent.stacks.thread import Thread

_SETUP: tuple[Phase, ...] = ("op_compile", "init_process_group", "deepspeed_init")
_IN_AUTOGRAD_THREAD: tuple[Phase, ...] = ("zero_gather", "grad_reduce", "op_compile")


def training_thread(threads: Sequence[Thread]) -> Thread | None:
    """Return the thread that runs the user's function, or MainThread while set-up runs in it.

    Outside Ray, and in an actor of the user's own, it is MainThread.

    When there are several processes, the first thread's is the rank and the others its children.
    """
    own = _own(threads)
    for thread in own:
        if thread.name.startswith(ray.V2_TRAINING_THREAD):
            return thread

    for where in (ray.V2_THREAD_TARGET, ray.V1_TRAIN_FUNCTION, ray.V1_RUNNER):
        for thread in own:
            if thread.stack.holds(*where):
                return thread

    main = _main_thread(own)
    return main if main is not None and (_is_own_program(main) or _sets_up(main)) else None


def phase_of(threads: Sequence[Thread]) -> Phase:
    """Return what the rank that these threads belong to is doing."""
    own = _own(threads)
    thread = training_thread(own)
    if thread is None:
        return _phase_without_training(own)

    if thread.stack.ends:
        return "finished"

    phase = thread.stack.phase
    if phase == "backward":
        return _phase_of_autograd(own) or phase

    if phase == "unknown" and _is_of_v2(thread):
        return _phase_around_user_code(thread.frames)

    # What is imported in MainThread does not run yet; under Ray, the user's code there is a hook.
    if thread is _main_thread(own):
        is_hook = phase in ("user", "unknown") and not _is_own_program(thread)
        return "starting" if is_hook or (thread.stack.imports and phase not in _SETUP) else phase

    return "starting" if phase == "unknown" else phase


def _is_of_v2(thread: Thread) -> bool:
    """Tell whether Ray Train V2 started a thread; older versions give it no name."""
    return thread.name.startswith(ray.V2_TRAINING_THREAD) or thread.stack.holds(
        *ray.V2_THREAD_TARGET
    )


def _phase_of_autograd(threads: Sequence[Thread]) -> Phase | None:
    """Return what autograd's own threads do: on GPUs they run DeepSpeed's backward hooks."""
    for thread in threads:
        if thread.frames and thread.frames[0].layer in ("torch", "deepspeed"):
            phase = thread.stack.phase
            if phase in _IN_AUTOGRAD_THREAD:
                return phase

    return None


def _phase_around_user_code(frames: Sequence[Frame]) -> Phase:
    runner = [
        frame.name for frame in frames if path_of(frame) in (ray.V2_RUNNER_FILE, ray.V2_WORKER_FILE)
    ]
    if any(path_of(frame) == ray.V2_UTIL_FILE for frame in frames):
        return "starting"

    # After the user's function it waits for the last checkpoint uploads.
    if runner and runner[-1] == ray.V2_FUNCTION_CALLER[0]:
        return "report"

    return "finished" if runner and runner[-1] == ray.V2_THREAD_TARGET[0] else "unknown"


def _phase_without_training(threads: Sequence[Thread]) -> Phase:
    if not threads:
        return "unknown"

    if any(thread.name.startswith(ray.V2_MONITORING_THREAD) for thread in threads):
        return "finished"

    main = _main_thread(threads)
    # A process that answers for itself leaves out the thread that answers: its main thread.
    if main is not None and main.stack.ends:
        return "finished"

    return "starting"


def _own(threads: Sequence[Thread]) -> Sequence[Thread]:
    if not threads or threads[0].pid is None:
        return threads

    return [thread for thread in threads if thread.pid == threads[0].pid]


def _main_thread(threads: Sequence[Thread]) -> Thread | None:
    for thread in threads:
        if thread.name == "MainThread" or (thread.tid is not None and thread.tid == thread.pid):
            return thread

    return None


def _is_own_program(main: Thread) -> bool:
    """Tell whether a MainThread runs a program or an actor of the user's rather than Ray's tasks."""
    if main.stack.holds(*ray.ACTOR_METHOD):
        return not any(_is_rays_or_ours(frame) for frame in main.frames)

    return bool(main.frames) and not any(path_of(f) in ray.LOOP_FILES for f in main.frames)


def _is_rays_or_ours(frame: Frame) -> bool:
    """Tell whether a frame is of a task of Ray Train's, or of a read of ours."""
    is_ours = (frame.name, path_of(frame)) == ray.RUN_INSIDE
    return is_ours or path_of(frame).startswith(ray.TRAIN_FOLDER)


def _sets_up(main: Thread) -> bool:
    """Tell whether a MainThread does more than to wait for Ray's next task."""
    beyond_loop = [frame for frame in main.frames if path_of(frame) not in ray.LOOP_FILES]
    tasks = (f.name for f in beyond_loop if path_of(f) in (ray.V2_WORKER_FILE, ray.V1_WORKER_FILE))
    return any(task in ray.SETUP_TASKS for task in tasks) or any(
        mark_of(frame) is not None or frame.layer == "user" for frame in beyond_loop
    )
