"""Raw data of a trace, per rank, before it becomes a timeline."""

from __future__ import annotations

from typing import Any

import msgspec

from dsray_inspect.agent.model import Job, Node, Run, Worker
from dsray_inspect.agent.tracing.collectives import Entry, entries
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable


class Rank(msgspec.Struct, kw_only=True):
    """One rank, and why it gave nothing where it did not."""

    worker: Worker
    probe: dict[str, Any] | Unavailable = NOT_ASKED
    records: bytearray = msgspec.field(default_factory=bytearray)
    dropped: int = 0
    open_spans: list[tuple[int, int]] = msgspec.field(default_factory=list)
    wall_ns: int = 0
    clock_ns: int = 0
    main_thread: int = 0
    alive: bool = True
    closed: bool = False
    """Whether the probe has uninstalled itself."""
    recordings: list[bytes] = msgspec.field(default_factory=list)
    kept: list[Entry] = msgspec.field(default_factory=list)
    """The entries of its flight recorder, where they come from a file and not from the rank."""
    no_recording: Unavailable | None = NOT_ASKED
    """Why its flight recorder gave nothing when it was last read; None where it answered."""
    group_ranks: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    pause_ms: float = 0.0
    """Upper bound of the pause by any single call."""
    covered: list[str] = msgspec.field(default_factory=list)
    """Functions that the job patched after the probe did."""
    is_out: bool = True
    """Whether no probe is installed in it."""

    def entries(self) -> list[Entry]:
        """Return what its flight recorder holds, oldest first."""
        return self.kept or entries(self.recordings)

    @property
    def name(self) -> str:
        return f"rank {self.worker.rank}" if self.worker.rank is not None else "a worker"


class TraceCapture(msgspec.Struct, kw_only=True):
    """The ranks of a run, and the traced period."""

    job: Job
    run: Run | None
    nodes: tuple[Node, ...]
    ranks: list[Rank]
    from_ns: int
    """Start of the traced period; 0 for everything in the recorders."""
    until_ns: int
    is_hung: bool = False
    """Whether the run is hung, so that a rank's step has not changed meanwhile."""
    is_partial: bool = False
    """Whether collectives are missing in between, so that no pattern can be found in them."""
    notes: list[str] = msgspec.field(default_factory=list)
