"""What a timeline says in short, as records."""

from __future__ import annotations

from dsray_inspect.agent.model import Record


class RankSummary(Record, frozen=True, kw_only=True):
    """One rank's whole steps. Times are milliseconds a step, of the median and the longest step;
    `phases_ms` are means that add up to `mean_ms`, each without the phases inside of it.
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
    """For so long the others had to wait for it alone, in the median step."""
    waits_ms: float
    """For so long it waited in collectives for others, in the median step."""
    in_now: str | None
    """The innermost span that has been open for long: the rank is in it, or ended in it."""


class CollectiveSummary(Record, frozen=True, kw_only=True):
    """The collectives of one operation, group and size, in one rank."""

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
    """From one step on the pace is another."""

    step: int
    at_ns: int
    before_ms: float
    after_ms: float


class Summary(Record, frozen=True, kw_only=True):
    """The whole in short."""

    ranks: tuple[RankSummary, ...]
    late_rank: int | None
    collectives: tuple[CollectiveSummary, ...]
    stuck: tuple[Stuck, ...]
    change: Change | None
    from_ns: int
    until_ns: int
    inferred: bool
    """Whether steps are told from the pattern of collectives."""
    spans: int
