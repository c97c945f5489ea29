"""What a detector works on, and the words that findings share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.model import Frame, Function, Worker

MAX_CHOSEN = 4
STALLED_S = 30.0
"""A training thread that has not run for so long is taken to be stuck, not slow."""


def ranks(workers: Iterable[Worker]) -> tuple[int, ...]:
    return tuple(sorted(worker.rank for worker in workers if worker.rank is not None))


def name_ranks(numbers: Sequence[int], most: int = 8) -> str:
    """Return "rank 1", "ranks 0, 2" or "ranks 0, 1, 2 … (128 ranks)"."""
    if not numbers:
        return "a rank"

    if len(numbers) == 1:
        return f"rank {numbers[0]}"

    shown = ", ".join(map(str, numbers[:most]))
    return f"ranks {shown}" if len(numbers) <= most else f"ranks {shown} … ({len(numbers)} ranks)"


def next_command(facts: AnalysisInput, command: str, numbers: Sequence[int], *flags: str) -> str:
    """Return a command line on this job that can be pasted; the first ranks of many."""
    chosen = [f"--rank {rank}" for rank in numbers[:MAX_CHOSEN]]
    return " ".join(("dsray-inspect", command, *facts.observation.request.words, *chosen, *flags))


def wait(numbers: Sequence[object]) -> str:
    return "waits" if len(numbers) == 1 else "wait"


def be(numbers: Sequence[object]) -> str:
    return "is" if len(numbers) == 1 else "are"


def place_of(at: Function | Frame) -> str:
    """Return "load_batch (train.py:25)"."""
    return f"{at.name} ({at.file.rpartition('/')[2]}:{at.line})"


def duration(seconds: float) -> str:
    """Return "48 ms", "3.2 s", "4 min 12 s" or "2 h 5 min"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"

    if seconds < 60:
        return f"{seconds:.1f} s"

    whole = int(seconds)

    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"

    return f"{whole // 3600} h {whole % 3600 // 60} min"
