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
    UNCOUNTED,
    W_DEADLINE_NS,
)

Measure = Callable[[tuple[Any, ...], Any], int]
FORK_MARK = "_active_limbo_lock"
"""A lock that `threading` makes anew in every forked child."""


class Switch:
    """What the wrappers ask before they record: whether the probe is in, and in this process.

    That is one comparison: `mark` is `namespace[FORK_MARK]` as long as both hold. Asking for
    the pid would cost ten times as much. Without such a lock a fork cannot be told.
    """

    def __init__(self, on_expiry: Callable[[], None]) -> None:
        self.on_expiry = on_expiry
        self.namespace = vars(threading)

        if FORK_MARK not in self.namespace:
            self.namespace = {FORK_MARK: self}

        self.mark = self.namespace[FORK_MARK]

    @property
    def off(self) -> bool:
        return self.mark is None

    def turn_off(self) -> None:
        self.mark = None


def around(  # noqa: C901 - the hot path is one function
    original: Any,
    code: int,
    ring: Ring,
    switch: Switch,
    *,
    of_engine: bool = False,
    advances: bool = False,
    measure: Measure | None = None,
    device: Device | None = None,
    step_aside: Callable[[], object],
) -> Any:
    """Return `original` with a record of each call.

    Args:
        original: The function itself.
        code: What it is in a record.
        ring: Where records go.
        switch: Whether to write any.
        of_engine: Its first argument counts `global_steps` and `micro_steps`.
        advances: It may make the global step higher.
        measure: Gives a size from arguments and result.
        device: Takes the time on the GPU too.
        step_aside: Called where the wrapper is found although the probe is out; it puts
            `original` back.
    """
    clock, identity = time.monotonic_ns, threading.get_ident
    memory, words, pack = ring.memory, ring.words, struct.Struct(RECORD).pack_into
    number, capacity = ring.numbers.__next__, ring.capacity
    take, give = ring.places.pop, ring.places.append
    namespace = switch.namespace

    @functools.wraps(original)
    def probed(*args: Any, **kwargs: Any) -> Any:  # noqa: C901
        if namespace[FORK_MARK] is not switch.mark:
            step_aside()
            return original(*args, **kwargs)

        place = flags = second = 0
        first = UNCOUNTED if of_engine else 0
        mark = result = None

        try:
            place = take()
            words[place + 1] = code

            if of_engine:
                first, second = args[0].global_steps, args[0].micro_steps

            if device is not None:
                mark = device.begin()
        except Exception:
            pass

        start = clock()

        try:
            if place:
                words[place] = start
        except Exception:
            pass

        try:
            result = original(*args, **kwargs)
            return result
        except BaseException:
            flags = FAILED
            raise
        finally:
            try:
                end = clock()

                if place:
                    words[place] = 0
                    give(place)

                if advances and args[0].global_steps > first:
                    flags |= ADVANCED

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
