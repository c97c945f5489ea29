"""Ranks that wait for the lock of torch's extension compiler, and those that compile."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.compat import torch
from dsray_inspect.agent.model import Frame
from dsray_inspect.agent.remote.locks import is_compiler
from dsray_inspect.agent.stacks.memo import by_identity


def compilers_of(member: RankContext) -> list[str]:
    """Return the names of the compilers among a rank's child processes."""
    names = (child.name for child in member.child_processes)
    return [name for name in names if is_compiler(name)]


def waits_for_lock(member: RankContext) -> bool:
    return any(_is_lock_wait(thread.frames) for thread in member.seen.threads)


@by_identity
def _is_lock_wait(frames: Sequence[Frame]) -> bool:
    return any(
        frame.name == torch.BATON_WAIT[0] and frame.file.endswith(torch.BATON_WAIT[1])
        for frame in frames
    )
