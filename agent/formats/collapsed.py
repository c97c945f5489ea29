"""Stacks as lines for flame graphs, in Brendan Gregg's collapsed format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsray_inspect.agent.documents import StacksView
from dsray_inspect.agent.formats import renders
from dsray_inspect.agent.model import Frame, StackGroup
from dsray_inspect.agent.stacks.frame_rules import path_of
from dsray_inspect.agent.text.style import Style

_SEPARATORS = str.maketrans(";\n\r", ",  ")


@renders(StacksView)
def render_stacks(view: StacksView, _style: Style) -> str:
    return "\n".join(lines(view.snapshot.stacks.groups, threads=view.all_threads))


def lines(groups: Iterable[StackGroup], *, threads: bool = False) -> Iterator[str]:
    """Yield one line per rank and stack, `rank 0;teach (train.py:61);... 1`.

    Args:
        groups: The merged stacks.
        threads: Whether to put the thread's name between rank and frames.
    """
    for group in groups:
        owners = [f"rank {rank}" for rank in group.ranks] or [group.role]

        if group.role == "child":
            owners = [f"{owner} child" for owner in owners]

        thread = [group.thread] if threads else []
        stack = [*thread, *(_described(frame) for frame in group.frames)]

        for owner in owners:
            yield ";".join(_escaped(part) for part in (owner, *stack)) + " 1"


def _described(frame: Frame) -> str:
    path = frame.file.rpartition("/")[2] if frame.layer in ("user", "native") else path_of(frame)
    place = f"{path}:{frame.line}" if frame.line > 0 else path
    return f"{frame.name} ({place})"


def _escaped(text: str) -> str:
    return text.translate(_SEPARATORS)
