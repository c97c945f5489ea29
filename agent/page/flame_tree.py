"""The stacks of a flame graph as a tree, laid out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dsray_inspect.agent.report.document import Flame, FlameFrame

_MOST_BOXES: Final = 2500
_MOST_LEVELS: Final = 150
_LEAST_SHARE: Final = 0.0005
"""What is narrower than this could not be seen."""


class FlameBox:
    """A function below those that called it, with the time of all ranks in it."""

    def __init__(self, frame: FlameFrame | None, level: int) -> None:
        self.frame = frame
        """None for all ranks together, and where no stack could be read."""
        self.level = level
        self.weight = 0.0
        self.own_weight = 0.0
        self.x = 0.0
        self._ranks = 0
        self._below: dict[int, FlameBox] = {}

    def add(self, weight: float, ranks: int) -> None:
        self.weight += weight
        self._ranks |= ranks

    def below(self, number: int, frame: FlameFrame | None) -> FlameBox:
        """Return the box of a function that this one calls."""
        if number not in self._below:
            self._below[number] = FlameBox(frame, self.level + 1)

        return self._below[number]

    def ordered(self) -> list[FlameBox]:
        """Return what this one calls, that which took longest first."""
        return sorted(self._below.values(), key=lambda box: (-box.weight, _name(box)))

    @property
    def ranks(self) -> list[int]:
        return [n for n in range(self._ranks.bit_length()) if self._ranks >> n & 1]


def _name(box: FlameBox) -> tuple[str, str]:
    return (box.frame.name, box.frame.file) if box.frame else ("", "")


_UNSEEN: Final = -1
"""Stands for the function where no stack could be read."""


def tree_of(flame: Flame) -> FlameBox:
    """Return the box of all ranks, with all others below it."""
    root = FlameBox(None, 0)

    for stack in flame.stacks:
        ranks = sum(1 << rank for rank in stack.ranks)
        box = root
        box.add(stack.weight, ranks)

        for number in stack.frames[:_MOST_LEVELS] or (_UNSEEN,):
            box = box.below(number, None if number == _UNSEEN else flame.frames[number])
            box.add(stack.weight, ranks)

        box.own_weight += stack.weight

    return root


def visible_boxes(root: FlameBox) -> list[FlameBox]:
    """Return what can be seen, placed, each box after the one that it is below."""
    least = root.weight * _LEAST_SHARE
    shown: list[FlameBox] = [root]

    for box in shown:  # grows while it is read: level by level
        x = box.x

        for below in box.ordered():
            below.x = x
            x += below.weight / root.weight if root.weight else 0.0

            if below.weight >= least and len(shown) < _MOST_BOXES:
                shown.append(below)

    return shown


def hottest(flame: Flame) -> Iterator[tuple[FlameFrame, float, float]]:
    """Yield functions with the time in them and below them, by the time in them alone."""
    own: dict[int, float] = {}
    whole: dict[int, float] = {}

    for stack in flame.stacks:
        for number in set(stack.frames):
            whole[number] = whole.get(number, 0.0) + stack.weight

        if stack.frames:
            own[stack.frames[-1]] = own.get(stack.frames[-1], 0.0) + stack.weight

    for number in _by_weight(own, flame.frames):
        yield flame.frames[number], own[number], whole[number]


def _by_weight(weights: dict[int, float], frames: Sequence[FlameFrame]) -> list[int]:
    return sorted(weights, key=lambda number: (-weights[number], frames[number].name))
