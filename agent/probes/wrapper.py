"""The function that stands in for a probed one, and what all of them share (stdlib only).

It runs in the job's hot path: every name it uses is a local one, and what may fail of ours is
caught. It runs the real function whatever happens.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from dsray_inspect.agent.compat.torch import (
    EVAL_FRAME_MODULE,
    SKIP_CODE,
)
from dsray_inspect.agent.probes.device import Device
from dsray_inspect.agent.probes.ring import Ring
from dsray_inspect.agent.probes.wire import (
    ADVANCED,
    FAILED,
    MOVED,
    UNCOUNTED,
    W_DEADLINE_NS,
)

Measure = Callable[[tuple[Any, ...], Any], int]
_FORK_MARK = "_active_limbo_lock"
"""A lock that `threading` makes anew in every forked child."""
_LOOK_NS = 250_000_000
"""So long a probe whose last lease was given back goes on, at most."""


class Switch:
    """What the wrappers ask before they record: whether the probe is in, and in this process.

    That is one comparison: `mark` is `namespace[FORK_MARK]` as long as both hold. Asking for
    the pid would cost ten times as much. Without such a lock a fork cannot be told.
    """

    def __init__(self, on_expiry: Callable[[], None]) -> None:
        self.on_expiry = on_expiry
        self.namespace = vars(threading)

        if _FORK_MARK not in self.namespace:
            self.namespace = {_FORK_MARK: self}

        self.mark = self.namespace[_FORK_MARK]
        self.look_at_ns = 0
        """When the lease is looked at again."""

    @property
    def off(self) -> bool:
        return self.mark is None

    def turn_off(self) -> None:
        self.mark = None


Around = Callable[..., Any]
"""Gives a function a record of each call, see `recorder`."""


def recorder(ring: Ring, switch: Switch) -> Around:  # noqa: C901 - the hot path is one function
    """Return what makes wrappers that record into `ring` as long as `switch` is on.

    A training step calls them seldom enough that each finds its data out of the processor's
    caches: what they share is shared as the same variables, and a record is written word by word,
    which takes two thirds of what `struct` takes there. A column for each word needs no addition.
    """
    clock, identity = time.monotonic_ns, threading.get_ident
    numbers, starts, ends, codes, firsts, seconds, threads, _ = ring.columns
    number, mask = ring.numbers.__next__, ring.capacity - 1
    namespace, fork_mark = switch.namespace, _FORK_MARK

    def look_at_lease(now_ns: int) -> None:
        until_ns = ring.header[W_DEADLINE_NS]
        switch.look_at_ns = min(until_ns, now_ns + _LOOK_NS)

        if now_ns > until_ns:
            switch.on_expiry()

    def around(  # noqa: C901
        original: Any,
        code: int,
        *,
        of_engine: bool = False,
        advances: bool = False,
        part_of: str | None = None,
        measure: Measure | None = None,
        device: Device | None = None,
        step_aside: Callable[[], object],
    ) -> Any:
        """Return `original` with a record of each call.

        Args:
            original: The function itself.
            code: What it is in a record.
            of_engine: Its first argument counts `global_steps` and `micro_steps`.
            advances: It may make the global step higher.
            part_of: What is true of its first argument where another record covers the call.
            measure: Gives a size from arguments and result.
            device: Takes the time on the GPU too.
            step_aside: Called where the wrapper is found although the probe is out; it puts
                `original` back.
        """

        @functools.wraps(original)
        def probed(*args: Any, **kwargs: Any) -> Any:  # noqa: C901
            if namespace[fork_mark] is not switch.mark:
                step_aside()
                return original(*args, **kwargs)

            if part_of is not None and _is_true(args, part_of):
                return original(*args, **kwargs)

            flags = first = second = at = still_open = 0
            counts: Any = None
            mark = result = None

            try:
                if of_engine:
                    first = UNCOUNTED
                    # An attribute of a torch module is found by way of its `__getattr__`.
                    counts = args[0].__dict__
                    first, second = counts["global_steps"], counts["micro_steps"]

                if device is not None:
                    mark = device.begin()
            except Exception:
                pass

            try:
                n = number()
                at = n & mask
                ends[at] = still_open = -n
                codes[at] = code
                firsts[at] = first
                seconds[at] = second
                threads[at] = identity()
                start = starts[at] = clock()
                numbers[at] = n
            except Exception:
                start = clock()

            try:
                # Without the copy of `kwargs` that ** makes.
                result = original(*args, **kwargs) if kwargs else original(*args)
                return result
            except BaseException:
                flags = FAILED
                raise
            finally:
                try:
                    end = clock()

                    if ends[at] != still_open:  # a later span has taken the place
                        at = ring.begin(start, code | MOVED, first, second)

                    if advances and counts["global_steps"] > first:
                        flags |= ADVANCED

                    if measure is not None and not flags:
                        seconds[at] = measure(args, result)

                    if flags:
                        codes[at] |= flags

                    ends[at] = end

                    if end > switch.look_at_ns:
                        look_at_lease(end)

                    if device is not None:
                        device.end(mark, code, start, end)
                except Exception:
                    pass

        probed._torchdynamo_disable = True  # type: ignore[attr-defined]
        _keep_from_dynamo(probed)
        return probed

    return around


def _is_true(args: tuple[Any, ...], name: str) -> bool:
    """Return whether the first argument says so of itself."""
    try:
        return bool(getattr(args[0], name, False))
    except Exception:
        return False


def _keep_from_dynamo(function: Any) -> None:
    """Tell torch's compiler, where it is loaded, to leave the wrapper's own frame alone."""
    skip = getattr(sys.modules.get(EVAL_FRAME_MODULE), SKIP_CODE, None)

    if skip is not None:
        skip(function.__code__)
