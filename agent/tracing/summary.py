"""The summary of a timeline, as records."""

from __future__ import annotations

from dsray_inspect.agent.model import Record


class RankSummary(Record, frozen=True, kw_only=True):
    """The complete steps of one rank; times are milliseconds per step.

    `phases_ms` are means that add up to `mean_ms`, each excluding nested phases.
    """

    rank: int | None
    hostname: str
    pid: int
    steps: int
    first_step: int | None
    last_step: int | None
    median_ms: float | None
    mean_ms: float | None
    longest_ms: float | None
    longest_step: int | None
    phases_ms: dict[str, float]
    late_ms: float
    """How long the other ranks waited for this one alone, in the median step."""
    waits_ms: float
    """How long it waited for others in collectives, in the median step."""
    in_now: str | None
    """The innermost span that has been open for long: the rank is still in it, or died in it."""


class CollectiveSummary(Record, frozen=True, kw_only=True):
    """The collectives of one operation, group and size on one rank."""

    operation: str
    group: str
    group_size: int | None
    size_bytes: int | None
    dtype: str
    count: int
    mean_ms: float | None


class Stuck(Record, frozen=True, kw_only=True):
    """A collective that some ranks entered long ago and none has left."""

    operation: str
    group: str
    sequence: int
    ranks: tuple[int, ...]
    missing: tuple[int, ...]
    since_ns: int
    """When the first rank entered it."""
    step: int | None


class Change(Record, frozen=True, kw_only=True):
    """A lasting change in the duration of steps, from one step on."""

    step: int
    at_ns: int
    before_ms: float
    after_ms: float


class Summary(Record, frozen=True, kw_only=True):
    """The summary of a timeline."""

    ranks: tuple[RankSummary, ...]
    late_rank: int | None
    collectives: tuple[CollectiveSummary, ...]
    stuck: tuple[Stuck, ...]
    change: Change | None
    from_ns: int
    until_ns: int
    inferred: bool
    """Whether steps were inferred from the pattern of collectives."""
    spans: int
