"""Why an actor's process gives no answer, read from its stacks.

An actor answers from its main thread, which between tasks stands in `main_loop`; an async
actor from its event loop. Whatever else they are in is the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.model import Frame
from dsray_inspect.agent.stacks.frame_rules import path_of
from dsray_inspect.agent.stacks.thread import Thread

_LOOP = "asyncio/base_events.py"
_IDLE_IN_LOOP = ("select", "_run_once", "run_forever", "poll")


def explain_silence(threads: Sequence[Thread], before: Sequence[Thread] | None = None) -> str:
    """Return one clause, or "" for a process that could answer.

    `before` is from an earlier dump of the same process, where there is one.
    """
    keeper = gil_keeper(threads, before)
    held = f"the GIL is held by {keeper.name}" if keeper is not None else ""
    return held or _busy_main(threads) or _busy_loop(threads)


def gil_keeper(threads: Sequence[Thread], before: Sequence[Thread] | None) -> Thread | None:
    """Return the thread, not the main one, that has the GIL, and had it at the same place before.

    Somebody has the GIL of every process that computes; only who does not move keeps it.
    """
    holders = [
        thread
        for thread in threads
        if thread.owns_gil and thread.frames and thread.name != "MainThread"
    ]

    if before is None:
        return next(iter(holders), None)

    then = [place(thread) for thread in before if thread.owns_gil]
    return next((holder for holder in holders if place(holder) in then), None)


def place(thread: Thread) -> tuple[object, ...]:
    """Return what stays the same of a thread that does not move."""
    python = [frame for frame in thread.frames if frame.layer != "native"]
    return (thread.name, *((frame.name, frame.file, frame.line) for frame in python))


def _busy_main(threads: Sequence[Thread]) -> str:
    main = next((thread for thread in threads if thread.name == "MainThread"), None)

    if main is None or not main.frames or _is_waiting(main.frames[-1]):
        return ""

    inner = main.frames[-1]
    place = f"{inner.name} ({'/'.join(path_of(inner).split('/')[-2:])}:{inner.line})"
    task = _task_of(main.frames)
    return f"its main thread is busy in {task + ', now in ' if task else ''}{place}"


def _is_waiting(frame: Frame) -> bool:
    return (frame.name, path_of(frame)) == ray.MAIN_LOOP


def _task_of(frames: Sequence[Frame]) -> str:
    """Return the first function that Ray's loop called, which the task is named after."""
    for number, frame in enumerate(frames):
        if _is_waiting(frame) and number + 1 < len(frames):
            called = [frame.name for frame in frames[number + 1 :] if not _is_wrapper(frame)]
            return called[0] if called else ""

    return ""


def _is_wrapper(frame: Frame) -> bool:
    own = path_of(frame).startswith(ray.PRIVATE_FOLDERS)
    return own or frame.name in ray.TASK_WRAPPERS


def _busy_loop(threads: Sequence[Thread]) -> str:
    """Say what an event loop is in, when a callback of it does not return."""
    for thread in threads:
        in_loop = [n for n, frame in enumerate(thread.frames) if path_of(frame).endswith(_LOOP)]

        if in_loop and thread.frames[-1].name not in _IDLE_IN_LOOP:
            inner = thread.frames[-1]
            return f"its event loop is blocked in {inner.name} ({path_of(inner)}:{inner.line})"

    return ""
