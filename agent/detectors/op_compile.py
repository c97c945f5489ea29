"""Ranks that compile DeepSpeed's ops, and ranks that wait for the lock of such a compile."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.evidence.compile_locks import compilers_of, waits_for_lock
from dsray_inspect.agent.detectors.evidence.rank_index import in_phase
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.sampling.rank_report import CompileLock

FRESH_LOCK_S = 300.0
"""A compile takes up to about 200 s on a loaded machine; an older lock has lost its owner."""
NO_COMPILER_S = 5.0
"""Where no compiler runs on the node, a lock of that age is nobody's."""
MOST_COMPILERS = 4


class OpCompile(Facts, frozen=True, kw_only=True):
    """Ranks that compile, by rank the compilers among their children, and the ranks that wait."""

    compilers: tuple[tuple[int | None, tuple[str, ...]], ...]
    waiting: tuple[int, ...]


class AwaitedLock(Facts, frozen=True, kw_only=True):
    """Locks that ranks wait for and that no rank of the run holds."""

    paths: tuple[str, ...]
    age_s: float | None
    compilers: int
    """How many compilers run on the node."""


@detector(causes=("op_compile_slow",), after=("op_compile_lock",))
def op_compile_slow(sample: AnalysisInput) -> list[Detection]:
    """A rank compiles one of DeepSpeed's ops, and its peers wait for the result or for the rank."""
    compiling = [
        member
        for member in in_phase(sample, "op_compile")
        if not waits_for_lock(member) and compilers_of(member)
    ]

    if not compiling:
        return []

    numbers = rank_numbers(member.worker for member in compiling)
    busy = set(numbers)
    return [
        Detection(
            cause="op_compile_slow",
            severity="warning",
            ranks=numbers,
            facts=OpCompile(
                compilers=tuple(
                    (member.worker.rank, tuple(compilers_of(member)[:MOST_COMPILERS]))
                    for member in compiling
                ),
                waiting=rank_numbers(
                    member.worker for member in sample.members if member.worker.rank not in busy
                ),
            ),
        )
    ]


@detector(causes=("op_compile_lock",), after=("driver_blocked",))
def op_compile_lock(sample: AnalysisInput) -> list[Detection]:
    """Ranks in `FileBaton.wait` of a lock that nobody who is alive and compiling holds."""
    compiling = in_phase(sample, "op_compile")  # ranks that wait for a lock are in it too
    waiting = [member.worker for member in compiling if waits_for_lock(member)]

    if not waiting or len(waiting) < len(compiling):
        return []

    found = _awaited_locks(sample)
    locks = {lock.path: lock.age_s for lock in found}
    compilers = max((lock.builders for lock in found), default=0)
    age_s = max((age for age in locks.values() if age is not None), default=None)
    is_stale = age_s is None or age_s > FRESH_LOCK_S or (not compilers and age_s > NO_COMPILER_S)
    return [
        Detection(
            cause="op_compile_lock",
            severity="error" if is_stale else "warning",
            ranks=rank_numbers(waiting),
            facts=AwaitedLock(paths=tuple(sorted(locks)), age_s=age_s, compilers=compilers),
        )
    ]


def _awaited_locks(sample: AnalysisInput) -> list[CompileLock]:
    return [lock for member in sample.members for lock in member.locks]
