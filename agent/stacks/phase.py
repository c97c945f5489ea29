"""What a rank is doing, read from its stacks: training thread, phase, function of the user."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.compat import deepspeed, ray, torch
from dsray_inspect.agent.model import Frame, Function, Phase, Thread
from dsray_inspect.agent.stacks.frame_rules import Mark, mark_of, path_of
from dsray_inspect.agent.stacks.memo import by_identity, by_stacks

# The first of these that any frame is marked with names the phase, wherever the frame stands.
_SPECIFIC: tuple[Phase, ...] = (
    "op_compile",
    "init_process_group",
    "deepspeed_init",
    "data",
    "checkpoint",
    "zero_gather",
    "grad_reduce",
    "report",
)
_SETUP: tuple[Phase, ...] = ("op_compile", "init_process_group", "deepspeed_init")
_STEP: tuple[Phase, ...] = ("forward", "backward", "optimizer_step")
_IN_AUTOGRAD_THREAD: tuple[Phase, ...] = ("zero_gather", "grad_reduce", "op_compile")
_NAMELESS = frozenset(["<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<lambda>"])


def training_and_phase(threads: Sequence[Thread]) -> tuple[Thread | None, Phase]:
    """Return what `training_thread` and `phase_of` do; ranks that stand alike cost one."""
    number, phase = _number_and_phase(threads)
    return (None if number is None else threads[number]), phase


@by_stacks
def _number_and_phase(threads: Sequence[Thread]) -> tuple[int | None, Phase]:
    training = training_thread(threads)
    number = next((n for n, thread in enumerate(threads) if thread is training), None)
    return number, phase_of(threads)


def training_thread(threads: Sequence[Thread]) -> Thread | None:
    """Return the thread that runs the user's function, or MainThread while set-up runs in it.

    When there are several processes, the first thread's is the rank and the others its children.
    """
    own = _own(threads)
    for thread in own:
        if thread.name.startswith(ray.V2_TRAINING_THREAD):
            return thread

    for where in (ray.V1_TRAIN_FUNCTION, ray.V1_RUNNER):
        for thread in own:
            if _holds(thread, *where):
                return thread

    main = _main_thread(own)
    return main if main is not None and _sets_up(main) else None


def phase_of(threads: Sequence[Thread]) -> Phase:
    """Return what the rank that these threads belong to is doing."""
    own = _own(threads)
    thread = training_thread(own)
    if thread is None:
        return _phase_without_training(own)

    if _ends(thread.frames):
        return "finished"

    phase = _phase_of_frames(thread.frames)
    if phase == "backward":
        return _phase_of_autograd(own) or phase

    if phase == "unknown" and thread.name.startswith(ray.V2_TRAINING_THREAD):
        return _phase_around_user_code(thread.frames)

    # The user's code in MainThread is a set-up hook; what is imported there does not run yet.
    sets_up = thread is _main_thread(own) and (phase == "user" or _imports(thread))
    if phase == "unknown" or (sets_up and phase not in _SETUP):
        return "starting"

    return phase


@by_identity
def user_function(frames: Sequence[Frame]) -> Function | None:
    """Return the innermost function of the user's code, with the line it is at."""
    mine = [frame for frame in frames if frame.layer == "user"]
    if not mine:
        return None

    inner = mine[-1]
    named = (f for f in reversed(mine) if f.file == inner.file and f.name not in _NAMELESS)
    return Function(name=next(named, inner).name, file=inner.file, line=inner.line)


@by_identity
def waits_in_collective(frames: Sequence[Frame]) -> bool:
    """Tell whether the innermost call is a collective operation (a rendezvous is none)."""
    for frame in reversed(frames):
        if frame.layer == "native":
            if frame.name.startswith(torch.NATIVE_COLLECTIVES):
                return True
        elif (
            frame.layer not in ("python", "library")
            and path_of(frame) != deepspeed.WAIT_WRAPPER_FILE
        ):
            mark = mark_of(frame)
            waits = frame.name == "wait" and mark == "zero_gather"
            return waits or mark == "collective" or path_of(frame) == deepspeed.PIPE_P2P_FILE

    return False


@by_identity
def _ends(frames: Sequence[Frame]) -> bool:
    return any((frame.name, path_of(frame)) in ray.ENDINGS for frame in frames)


@by_identity
def _phase_of_frames(frames: Sequence[Frame]) -> Phase:
    marks: list[Mark | None] = [mark_of(frame) for frame in frames]
    for phase in _SPECIFIC:
        if phase in marks:
            return phase

    for mark in marks:
        if mark in _STEP:
            return mark

    if "collective" in marks:
        return "collective"

    if "pipeline" in marks:
        return "forward"

    return "user" if any(frame.layer == "user" for frame in frames) else "unknown"


def _phase_of_autograd(threads: Sequence[Thread]) -> Phase | None:
    """Return what autograd's own threads do: on GPUs they run DeepSpeed's backward hooks."""
    for thread in threads:
        if thread.frames and thread.frames[0].layer in ("torch", "deepspeed"):
            phase = _phase_of_frames(thread.frames)
            if phase in _IN_AUTOGRAD_THREAD:
                return phase

    return None


def _phase_around_user_code(frames: Sequence[Frame]) -> Phase:
    runner = [
        frame.name for frame in frames if path_of(frame) in (ray.V2_RUNNER_FILE, ray.V2_WORKER_FILE)
    ]
    if runner and runner[-1] == ray.V2_FUNCTION_CALLER[0]:
        called = any(path_of(f) == ray.V2_UTIL_FILE for f in frames)
        # After the user's function it waits for the last checkpoint uploads.
        return "starting" if called else "report"

    return "finished" if runner and runner[-1] == ray.V2_THREAD_TARGET[0] else "unknown"


def _phase_without_training(threads: Sequence[Thread]) -> Phase:
    if not threads:
        return "unknown"

    if any(thread.name.startswith(ray.V2_MONITORING_THREAD) for thread in threads):
        return "finished"

    main = _main_thread(threads)
    # A process that answers for itself leaves out the thread that answers: its main thread.
    if main is not None and _ends(main.frames):
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


def _imports(thread: Thread) -> bool:
    return any(frame.name == "_find_and_load" for frame in thread.frames)


def _holds(thread: Thread, name: str, path: str) -> bool:
    return any(frame.name == name and path_of(frame) == path for frame in thread.frames)


def _sets_up(main: Thread) -> bool:
    """Tell whether a MainThread does more than to wait for Ray's next task."""
    beyond_loop = [frame for frame in main.frames if path_of(frame) not in ray.LOOP_FILES]
    tasks = (f.name for f in beyond_loop if path_of(f) in (ray.V2_WORKER_FILE, ray.V1_WORKER_FILE))
    return any(task in ray.SETUP_TASKS for task in tasks) or any(
        mark_of(frame) is not None or frame.layer == "user" for frame in beyond_loop
    )
