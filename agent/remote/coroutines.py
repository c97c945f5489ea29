"""What a thread in an event loop awaits: the coroutines of its task (stdlib only, sent by value).

The thread's own stack ends in the loop's `select`. Coroutines that are suspended are on no stack;
each says which it awaits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import Any

RUN = ("run_until_complete", "asyncio/base_events.py")
SELECT = "/selectors.py"
WAITS = {"_wait": "fs", "wait_for": "fut"}
"""Of functions of asyncio that wait for tasks: the variable that has these."""
TASKS = ("asyncio/tasks.py",)
GROUP = ("asyncio/taskgroups.py",)
MAX_TASKS = 16
MAX_COROUTINES = 64


def loop_call(frames: Sequence[FrameType]) -> int | None:
    """Return the place of the frame that runs an event loop to which nothing has happened.

    `frames`: innermost first. None where there is no loop, or where it runs a callback.
    """
    if not frames or not frames[0].f_code.co_filename.endswith(SELECT):
        return None

    return next((place for place, frame in enumerate(frames) if _is(frame, *RUN)), None)


def awaited(frame: FrameType) -> Iterator[FrameType]:
    """Yield the frames of the coroutines that a loop's call waits for, outermost first."""
    task = frame.f_locals.get("future")

    for _ in range(MAX_TASKS):
        inner = None

        for inner in _coroutines(task):
            yield inner

        task = _next_task(task, inner)

        if task is None:
            return


def _coroutines(task: Any) -> Iterator[FrameType]:
    """Yield the frames of a task's coroutine and of those it awaits."""
    awaits = task.get_coro() if hasattr(task, "get_coro") else None

    for _ in range(MAX_COROUTINES):
        frame = _first(awaits, ("cr_frame", "gi_frame", "ag_frame"))

        if not isinstance(frame, FrameType):
            return

        yield frame
        awaits = _first(awaits, ("cr_await", "gi_yieldfrom", "ag_await"))


def _next_task(task: Any, inner: FrameType | None) -> Any:
    """Return the task that a task waits for, the first of several that is not done."""
    future = getattr(task, "_fut_waiter", None)

    if hasattr(future, "get_coro"):
        return future

    if inner is not None and inner.f_code.co_filename.endswith(TASKS):
        awaits = inner.f_locals.get(WAITS.get(inner.f_code.co_name, ""), ())
        return _pending([awaits] if hasattr(awaits, "get_coro") else awaits)

    if inner is not None and inner.f_code.co_filename.endswith(GROUP):
        return _pending(getattr(inner.f_locals.get("self"), "_tasks", ()))

    return _pending(getattr(future, "_children", ()))


def _pending(futures: Iterable[Any]) -> Any:
    return next(
        (future for future in list(futures) if hasattr(future, "get_coro") and not future.done()),
        None,
    )


def _first(start: Any, names: Iterable[str]) -> Any:
    return next(
        (found for name in names if (found := getattr(start, name, None)) is not None), None
    )


def _is(frame: FrameType, name: str, file: str) -> bool:
    return frame.f_code.co_name == name and frame.f_code.co_filename.endswith(file)
