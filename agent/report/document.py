"""The records of a report: one explanation, and what all samples say together."""

from __future__ import annotations

from typing import Final, Literal

from dsray_inspect.agent.environment import Difference, Differences
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Layer, Log, Phase, Record, Verdict, WorkerState

SCHEMA_VERSION: Final = 1


class Moment(Record, frozen=True, kw_only=True):
    """One sample on the timeline."""

    at: float
    from_at: float
    until_at: float
    """It stands for this interval: half the way to the samples beside it."""
    verdict: Verdict


class RankState(Record, frozen=True, kw_only=True):
    """Where a rank was in a sample."""

    state: WorkerState
    phase: Phase
    function: str
    """Empty where it is not known."""
    place: str
    """File and line of it."""


class Track(Record, frozen=True, kw_only=True):
    """One rank, or ranks that were in the same states throughout; lists have one item per moment."""

    ranks: tuple[int | None, ...]
    hosts: tuple[str, ...]
    gpus: tuple[int, ...]
    pids: tuple[int, ...]
    is_blamed: bool
    states: tuple[int | None, ...]
    """Indices into `ReportDocument.states`; None where the rank was not there."""
    steps: tuple[int | None, ...]
    """Of the rank that is furthest behind."""
    idle_s: tuple[float | None, ...]
    """Of the rank that ran last."""


class FlameFrame(Record, frozen=True, kw_only=True):
    """One function, whichever of its lines it was seen in."""

    name: str
    file: str
    layer: Layer


class FlameStack(Record, frozen=True, kw_only=True):
    """A stack of functions, outermost first, and what all ranks spent in it together."""

    frames: tuple[int, ...]
    """Indices into `Flame.frames`; none where no stack could be read."""
    ranks: tuple[int, ...]
    weight: float


class Flame(Record, frozen=True, kw_only=True):
    """Where all ranks were, by wall clock."""

    unit: Literal["seconds", "ranks"]
    """What weights count: seconds times ranks, or ranks where there is but one sample."""
    frames: tuple[FlameFrame, ...]
    stacks: tuple[FlameStack, ...]

    @property
    def total(self) -> float:
        return sum(stack.weight for stack in self.stacks)


class RankLog(Record, frozen=True, kw_only=True):
    """What the log files of a rank end with."""

    rank: int | None
    log: Log


class ReportDocument(Record, frozen=True, kw_only=True):
    """The document of `report`."""

    schema_version: int = SCHEMA_VERSION
    tool: str
    """The version that took the samples."""
    public: bool
    samples: int
    """All that were taken; `moments` may be fewer."""
    from_at: float
    until_at: float
    explanation: Explanation
    moments: tuple[Moment, ...]
    states: tuple[RankState, ...]
    tracks: tuple[Track, ...]
    hidden_ranks: int
    """Ranks that have no track, as there are too many."""
    flame: Flame
    history: History | None
    """What the ranks did before the first sample."""
    env: Differences
    config: tuple[Difference, ...]
    """DeepSpeed settings that differ between ranks; the source of a value is null."""
    logs: tuple[RankLog, ...]
    """Of the ranks to blame."""
    versions: dict[str, tuple[str, ...]]
    left_out: tuple[str, ...]
    redacted: tuple[str, ...]
    replaced: tuple[str, ...]
    damage: str | None
    """How the file is damaged, in which case it holds less than it did."""
