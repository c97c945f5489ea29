"""Stacks as lines for flame graphs, in Brendan Gregg's collapsed format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsray_inspect.agent.model import Frame, StackGroup
from dsray_inspect.agent.stacks.frame_rules import path_of

_SEPARATORS = str.maketrans(";\n\r", ",  ")


def lines(groups: Iterable[StackGroup], *, threads: bool = False) -> Iterator[str]:
    """Yield one line for each rank's stack, `rank 0;teach (train.py:61);... 1`.

    Args:
        groups: The merged stacks.
        threads: Whether the thread's name stands between rank and frames.
    """
    for group in groups:
        owners = [f"rank {rank}" for rank in group.ranks] or [group.role]
        if group.role == "child":
            owners = [f"{owner} child" for owner in owners]

        middle = [group.thread] if threads else []
        stack = [*middle, *(_written(frame) for frame in group.frames)]
        for owner in owners:
            yield ";".join(_escaped(part) for part in (owner, *stack)) + " 1"


def _written(frame: Frame) -> str:
    path = frame.file.rpartition("/")[2] if frame.layer in ("user", "native") else path_of(frame)
    place = f"{path}:{frame.line}" if frame.line > 0 else path
    return f"{frame.name} ({place})"


def _escaped(text: str) -> str:
    return text.translate(_SEPARATORS)
