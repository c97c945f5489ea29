"""What a run's start took, and what cost it time."""

from __future__ import annotations

from dsray_inspect.agent.model.record import Record
from dsray_inspect.agent.model.vocabulary import CostName, StartName, StartUntil


class StartPart(Record, frozen=True, kw_only=True):
    """One part of a run's start on its critical path: that of the ranks which came last."""

    name: StartName
    seconds: float


class Cost(Record, frozen=True, kw_only=True):
    """What one thing has cost the run so far, by the rank that it cost most.

    `evidence` says where the number comes from; where there is no number, why not. Costs may
    contain one another: `op_compile` is a part of `deepspeed_init`.
    """

    name: CostName
    seconds: float | None
    evidence: str
    detail: str | None = None
    """What the seconds went into, such as the op that was compiled."""
    bytes: int | None = None
    count: int | None = None
    spilled_bytes: int | None = None


class Startup(Record, frozen=True, kw_only=True):
    """What it took from `fit()`, or from a restart of the worker group, until training ran.

    `parts` follow one another without a gap: they add up to `seconds`.
    """

    began_at: float
    seconds: float
    until: StartUntil
    """Where the known part ends: "now" is in the middle of the start, "train_func" at the
    training function's begin, with nothing known of what came after it, "partly" before that."""
    restart: bool
    """Whether it is that of a restarted worker group, which had its controller already."""
    parts: tuple[StartPart, ...]
    notes: tuple[str, ...] = ()
    """What is not known, and why."""
