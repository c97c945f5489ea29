"""What was brought home of each rank, as it came."""

from __future__ import annotations

from typing import Any

import msgspec

from dsray_inspect.agent.model import Job, Node, Run, Worker


class Rank(msgspec.Struct, kw_only=True):
    """One rank. Where a text stands for something, it says why there is none."""

    worker: Worker
    probe: dict[str, Any] | str = "not asked"
    records: bytearray = msgspec.field(default_factory=bytearray)
    dropped: int = 0
    open_spans: list[tuple[int, int]] = msgspec.field(default_factory=list)
    wall_ns: int = 0
    clock_ns: int = 0
    main_thread: int = 0
    alive: bool = True
    closed: bool = False
    """Whether the probe has left."""
    recordings: list[bytes] = msgspec.field(default_factory=list)
    recording_why: str = "not asked"
    group_ranks: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    pause_ms: float = 0.0
    """The longest that one of our calls can have held it."""
    covered: list[str] = msgspec.field(default_factory=list)
    """What the job has patched on top of ours."""
    is_out: bool = True

    @property
    def name(self) -> str:
        return f"rank {self.worker.rank}" if self.worker.rank is not None else "a worker"


class TraceCapture(msgspec.Struct, kw_only=True):
    """A run's ranks, and the time that was watched."""

    job: Job
    run: Run | None
    nodes: tuple[Node, ...]
    ranks: list[Rank]
    from_ns: int
    """Before it only the recorders know anything; 0 to take all of that."""
    until_ns: int
    is_hung: bool = False
    """Whether the run stood still, so that a rank's step is still what it was."""
    notes: list[str] = msgspec.field(default_factory=list)
