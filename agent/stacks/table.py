"""The distinct stacks of a session: each is parsed, labelled and classified once.

A thousand ranks in one collective have one stack. Cost grows with distinct stacks, not with ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.model import Frame, Phase
from dsray_inspect.agent.remote.threads import unpacked
from dsray_inspect.agent.stacks.layers import NO_ROOTS, Roots, label
from dsray_inspect.agent.stacks.phase import phase_of, training_thread
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.thread import Thread

_MOST = 8192
"""So many are kept; a long session meets more as training moves from line to line."""
_Process = tuple[tuple[str, StackInfo], ...]
"""Names and stacks of a process's threads: they decide what it does."""


class StackTable:
    """Makes equal stacks one object, and remembers what processes in equal stacks do."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[Frame, ...], StackInfo] = {}
        self._packed: dict[tuple[str, Roots], StackInfo] = {}
        self._processes: dict[_Process, tuple[int | None, Phase]] = {}

    def stack(self, frames: Sequence[Frame], roots: Roots = NO_ROOTS) -> StackInfo:
        """Return the stack of these frames, whose layers need not be known."""
        labelled = label(frames, roots)
        found = self._stacks.get(labelled)

        if found is None:
            self._make_room()
            found = self._stacks[labelled] = StackInfo(labelled)

        return found

    def unpacked(self, text: str, roots: Roots) -> StackInfo:
        """Return the stack in a text as `remote.threads.packed` makes it."""
        found = self._packed.get((text, roots))

        if found is None:
            frames = [
                Frame(name=name, qualname=qualname, file=file, line=line)
                for name, qualname, file, line in unpacked(text)
            ]
            found = self.stack(frames, roots)
            self._packed[text, roots] = found

        return found

    def training_and_phase(self, threads: Sequence[Thread]) -> tuple[Thread | None, Phase]:
        """Return what `training_thread` and `phase_of` do, once for all processes that are alike."""
        if threads and threads[0].pid is not None:  # of several processes perhaps
            return training_thread(threads), phase_of(threads)

        key = tuple([(thread.name, thread.stack) for thread in threads])
        found = self._processes.get(key)

        if found is None:
            training = training_thread(threads)
            place = next((n for n, thread in enumerate(threads) if thread is training), None)
            found = self._processes[key] = (place, phase_of(threads))

        place, phase = found
        return (None if place is None else threads[place]), phase

    def _make_room(self) -> None:
        if len(self._stacks) >= _MOST:
            self._stacks.clear()
            self._packed.clear()
            self._processes.clear()
