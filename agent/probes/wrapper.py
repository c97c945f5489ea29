"""The function that stands in for a probed one, and what all of them share (stdlib only).

It runs in the job's hot path: every name it uses is a local one, and what may fail of ours is
caught. It runs the real function whatever happens.
"""

from __future__ import annotations

import functools
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from dsray_inspect.agent.probes.device import Device
from dsray_inspect.agent.probes.ring import Ring
from dsray_inspect.agent.probes.wire import (
    ADVANCED,
    FAILED,
    HEADER_BYTES,
    RECORD,
    RECORD_BYTES,
    W_DEADLINE_NS,
)

Counts = Callable[[Any], tuple[int, int]]
Measure = Callable[[tuple[Any, ...], Any], int]


class Switch:
    """What the wrappers ask before they record: whether the probe is in, and in this process.

    `lock` is one that `threading` makes anew in every forked child: asking for it costs a tenth
    of asking for the pid. Without it (`None` here and in `threading`) a fork cannot be told.
    """

    def __init__(self, on_expiry: Callable[[], None]) -> None:
        self.off = False
        self.on_expiry = on_expiry
        self.lock = fork_mark()


def fork_mark() -> Any:
    return getattr(threading, "_active_limbo_lock", None)


def around(  # noqa: C901 - the hot path is one function
    original: Any,
    code: int,
    ring: Ring,
    switch: Switch,
    *,
    counts: Counts | None = None,
    measure: Measure | None = None,
    device: Device | None = None,
    step_aside: Callable[[], object],
) -> Any:
    """Return `original` with a record of each call.

    `counts` gives the engine's steps, `measure` a size from arguments and result. `step_aside`
    is called where the wrapper is found although the probe is out: it puts `original` back.
    """
    clock, identity, threads = time.monotonic_ns, threading.get_ident, threading
    memory, words, pack = ring.memory, ring.words, struct.Struct(RECORD).pack_into
    number, capacity = ring.numbers.__next__, ring.capacity
    take, give = ring.places.pop, ring.places.append
    lock = switch.lock

    @functools.wraps(original)
    def probed(*args: Any, **kwargs: Any) -> Any:
        if switch.off or getattr(threads, "_active_limbo_lock", None) is not lock:
            step_aside()
            return original(*args, **kwargs)

        place = first = second = flags = 0
        mark = result = None

        try:
            if counts is not None:
                first, second = counts(args[0])

            if device is not None:
                mark = device.begin()

            place = take()
            start = words[place] = clock()
            words[place + 1] = code
        except Exception:
            start = clock()

        try:
            result = original(*args, **kwargs)
            return result
        except BaseException:
            flags = FAILED
            raise
        finally:
            try:
                end = clock()

                if counts is not None and counts(args[0])[0] > first:
                    flags |= ADVANCED

                if place:
                    words[place] = 0
                    give(place)

                if measure is not None and not flags:
                    second = measure(args, result)

                n = number()
                at = HEADER_BYTES + (n - 1) % capacity * RECORD_BYTES
                pack(memory, at, n, start, end, code | flags, first, second, identity(), n)

                if end > words[W_DEADLINE_NS]:
                    switch.on_expiry()
                elif device is not None:
                    device.end(mark, code, start, end)
            except Exception:
                pass

    probed._torchdynamo_disable = True  # type: ignore[attr-defined]
    keep_from_dynamo(probed)
    return probed


def keep_from_dynamo(function: Any) -> None:
    """Tell torch's compiler, where it is loaded, to leave the wrapper's own frame alone."""
    skip = getattr(sys.modules.get("torch._C._dynamo.eval_frame"), "skip_code", None)

    if skip is not None:
        skip(function.__code__)
