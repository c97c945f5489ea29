"""Answers to questions about a stack that many ranks have: each is worked out once.

Equal stacks are made one object by `stacks.decode`, and what is asked of an object is kept by its
identity: a thousand ranks in one collective cost little more than one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from dsray_inspect.agent.model import Frame, Thread

A = TypeVar("A")
T = TypeVar("T")
MOST = 8192


def by_identity(ask: Callable[[Sequence[Frame]], A]) -> Callable[[Sequence[Frame]], A]:
    """Keep the answer to a pure question about frames, by the identity of their tuple."""
    known: dict[int, tuple[Sequence[Frame], A]] = {}

    @functools.wraps(ask)
    def asked(frames: Sequence[Frame]) -> A:
        if not isinstance(frames, tuple):
            return ask(frames)

        found = known.get(id(frames))

        if found is not None and found[0] is frames:
            return found[1]

        if len(known) >= MOST:
            known.clear()

        # The tuple is kept with its answer, so that no other can take its place in memory.
        answer = ask(frames)
        known[id(frames)] = (frames, answer)
        return answer

    return cast("Callable[[Sequence[Frame]], A]", asked)


def by_stacks(ask: Callable[[Sequence[Thread]], A]) -> Callable[[Sequence[Thread]], A]:
    """Keep the answer to a pure question about names and stacks of one process's own threads."""
    known: dict[tuple[object, ...], tuple[list[Sequence[Frame]], A]] = {}

    @functools.wraps(ask)
    def asked(threads: Sequence[Thread]) -> A:
        if not threads or threads[0].pid is not None:  # py-spy's, of several processes perhaps
            return ask(threads)

        key = tuple([one for thread in threads for one in (thread.name, id(thread.frames))])
        found = known.get(key)

        if found is not None:
            return found[1]

        if len(known) >= MOST:
            known.clear()

        # The stacks are kept with the answer, so that no others can take their place in memory.
        answer = ask(threads)
        known[key] = ([thread.frames for thread in threads], answer)
        return answer

    return cast("Callable[[Sequence[Thread]], A]", asked)


def of_newest(ask: Callable[[T], A]) -> Callable[[T], A]:
    """Keep the answer to a pure question about the record that was asked about last."""
    known: list[tuple[T, A]] = []

    @functools.wraps(ask)
    def asked(about: T) -> A:
        for before, answer in known:
            if before is about:
                return answer

        answer = ask(about)
        known[:] = [(about, answer)]
        return answer

    return asked
