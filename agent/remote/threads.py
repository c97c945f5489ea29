"""The stacks and scheduler facts of the process this runs in (stdlib only, sent by value)."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from dsray_inspect.agent.remote.coroutines import awaited, loop_call
from dsray_inspect.agent.remote.gil import yield_gil

MAX_FRAMES = 400
SEPARATOR = "\0"
"""No path holds it; a name would have to be made for it."""


def frames_of(frame: FrameType | None) -> str:
    """Return name, qualified name, file and line of each frame, outermost first, as `packed` does.

    Of an idle event loop the coroutines that it waits for are returned instead of its own frames.
    """
    frames = list(walk(frame))
    place = loop_call(frames)

    if place is None:
        return packed([described(inner) for inner in reversed(frames)])

    try:
        inside = [described(inner) for inner in awaited(frames[place])]
    except Exception:
        inside = []  # another asyncio keeps its tasks differently

    shown = frames[place:] if inside else frames
    return packed([*(described(inner) for inner in reversed(shown)), *inside])


def described(frame: FrameType) -> tuple[str, str, str, int]:
    code = frame.f_code
    qualname = getattr(code, "co_qualname", code.co_name)
    return code.co_name, qualname, code.co_filename, frame.f_lineno or 0


def packed(frames: Sequence[tuple[str, str, str, int]]) -> str:
    """Return a stack as one text: a thousand ranks that are in one place send equal ones."""
    text = SEPARATOR.join(
        f"{name}{SEPARATOR}{qualname}{SEPARATOR}{file}{SEPARATOR}{line}"
        for name, qualname, file, line in frames
    )

    if text.count(SEPARATOR) >= 4 * len(frames) > 0:
        return packed([(clean(a), clean(b), clean(c), line) for a, b, c, line in frames])

    return text


def clean(name: str) -> str:
    return name.replace(SEPARATOR, "?")


def unpacked(text: str) -> list[tuple[str, str, str, int]]:
    """Return the frames of a packed stack."""
    fields = iter(text.split(SEPARATOR) if text else ())
    return [
        (name, qualname, file, int(line))
        for name, qualname, file, line in zip(fields, fields, fields, fields, strict=True)
    ]


def walk(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and those that called it, innermost first."""
    for _ in range(MAX_FRAMES):
        if frame is None:
            return

        yield frame
        frame = frame.f_back


def all_threads() -> list[dict[str, Any]]:
    """Return every Python thread but the one that asks, with its stack and idle time.

    How long each has run is read before its stack: whoever finds the same later knows that it has
    not run since.
    """
    asking = threading.get_ident()
    names = {thread.ident: thread for thread in threading.enumerate()}
    times = {ident: cpu_times(os.getpid(), thread.native_id) for ident, thread in names.items()}
    # At one instant, and no frame is kept: it would pin the tensors of its step.
    stacks = {
        ident: frames_of(frame) for ident, frame in sys._current_frames().items() if ident != asking
    }
    now_ms = scheduled_at_ms("/proc/thread-self/sched")
    threads = []

    for ident, frames in stacks.items():
        yield_gil()
        thread = names.get(ident)
        tid = thread.native_id if thread is not None else None
        ran_s, run_delay_s = times.get(ident, (None, None))
        threads.append(
            {
                "name": thread.name if thread is not None else f"thread {ident:#x}",
                "tid": tid,
                "frames": frames,
                "idle_s": idle_s(os.getpid(), tid, now_ms),
                "ran_s": ran_s,
                "run_delay_s": run_delay_s,
            }
        )

    return threads


def idle_s(pid: int, tid: int | None, now_ms: float | None) -> float | None:
    """Return the seconds since the kernel last ran the thread, None where /proc does not say."""
    if tid is None or now_ms is None:
        return None

    last_ms = scheduled_at_ms(f"/proc/{pid}/task/{tid}/sched")

    if last_ms is None:
        return None

    return max(0.0, (now_ms - last_ms) / 1000)


def scheduled_at_ms(path: str) -> float | None:
    """Read `se.exec_start`, the scheduler's clock when it last charged the thread, in ms."""
    found = re.search(rb"se\.exec_start\s*:\s*([\d.]+)", start_of(path))
    return float(found[1]) if found else None


def cpu_times(pid: int, tid: int | None) -> tuple[float | None, float | None]:
    """Return the seconds that a thread has run and has queued for a CPU, None without schedstat."""
    found = re.match(rb"(\d+) (\d+) ", start_of(f"/proc/{pid}/task/{tid}/schedstat"))
    return (int(found[1]) / 1e9, int(found[2]) / 1e9) if found else (None, None)


def program_of(pid: int) -> str:
    """Return the name of a process's program, nothing where it cannot be read."""
    return start_of(f"/proc/{pid}/comm").decode("utf-8", "replace").strip()


def start_of(path: str) -> bytes:
    """Return the first 4 kB of a file, nothing where it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""

    try:
        return os.read(file, 4096)
    except OSError:
        return b""
    finally:
        os.close(file)
