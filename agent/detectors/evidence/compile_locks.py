"""Ranks that wait for the lock of torch's extension compiler, and those that compile."""

from __future__ import annotations

from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.remote.locks import is_compiler


def compilers_of(member: RankContext) -> list[str]:
    """Return the names of the compilers among a rank's child processes."""
    names = (child.name for child in member.child_processes)
    return [name for name in names if is_compiler(name)]


def waits_for_lock(member: RankContext) -> bool:
    return any(thread.stack.lock_wait for thread in member.seen.threads)
