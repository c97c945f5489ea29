"""What the ranks did before anybody attached, in a few hundred characters a rank.

Condensed from the timeline that `trace --past` tells from torch's flight recorders.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from dsray_inspect.agent.model import Record
from dsray_inspect.agent.timeline import Span, Timeline
from dsray_inspect.agent.tracing.summarize import together

CELLS: Final = 240
"""Into which the time is cut."""
MOST_RANKS: Final = 64
"""The recorders of more ranks are megabytes; `trace --past` reads them all."""
NOT_KEPT: Final = " "
BETWEEN: Final = "."
REDUCES: Final = "r"
GATHERS: Final = "g"
OTHER: Final = "c"


LATE_SHARE: Final = 0.1
"""Of the whole time that others must have waited for a rank to be worth a word."""


class RankHistory(Record, frozen=True, kw_only=True):
    """One rank; `cells` holds a letter for each stretch of time, oldest first."""

    rank: int
    cells: str
    late_s: float
    """For how long others waited in collectives to which this rank came last."""


class History(Record, frozen=True, kw_only=True):
    """The time that all recorders together reach back over; `note` says why there is none."""

    from_ns: int = 0
    until_ns: int = 0
    steps: int = 0
    step_s: float | None = None
    """The median of a step; None where no steps were told."""
    step_ended_ns: int | None = None
    """When the last whole step of any rank ended."""
    ranks: tuple[RankHistory, ...] = ()
    note: str = ""

    @property
    def span_s(self) -> float:
        return (self.until_ns - self.from_ns) / 1e9

    def is_late(self, one: RankHistory) -> bool:
        """Whether others spent a good part of the time on waiting for a rank."""
        return one.late_s >= LATE_SHARE * self.span_s


def history_of(timeline: Timeline) -> History:
    """Return the timeline's collectives, as letters."""
    collectives = [span for span in timeline.spans if span.kind == "collective"]

    if not collectives:
        return History(note=next(iter(timeline.notes), "the flight recorders hold no collective"))

    from_ns = min(span.start_ns for span in collectives)
    until_ns = timeline.until_ns or max(span.end_ns or span.start_ns for span in collectives)
    late_ns = lateness(timeline)
    steps = [span for span in timeline.spans if span.kind == "step" and span.end_ns is not None]
    return History(
        from_ns=from_ns,
        until_ns=until_ns,
        steps=len({span.step for span in steps}),
        step_s=statistics.median(length_s(span) for span in steps) if steps else None,
        step_ended_ns=max((span.end_ns or 0 for span in steps), default=None),
        ranks=tuple(
            RankHistory(
                rank=process.rank,
                cells=letters(
                    [span for span in collectives if span.process == n], from_ns, until_ns
                ),
                late_s=late_ns.get(n, 0) / 1e9,
            )
            for n, process in enumerate(timeline.processes)
            if process.rank is not None
        ),
    )


def length_s(span: Span) -> float:
    assert span.end_ns is not None
    return (span.end_ns - span.start_ns) / 1e9


def lateness(timeline: Timeline) -> dict[int, int]:
    """Return for how many ns the next latest waited for each process, where it came last."""
    late: dict[int, int] = {}

    for spans in together(timeline).values():
        starts = sorted((one.start_ns, one.process) for one in spans)

        if len(starts) > 1:
            (before_ns, _), (last_ns, last) = starts[-2:]
            late[last] = late.get(last, 0) + last_ns - before_ns

    return late


def letters(spans: Sequence[Span], from_ns: int, until_ns: int) -> str:
    """Return what took most of each cell: a kind of collective, or what is between them."""
    if not spans:
        return NOT_KEPT * CELLS

    cell_ns = max(1.0, (until_ns - from_ns) / CELLS)
    shares: list[dict[str, float]] = [{} for _ in range(CELLS)]

    for span in spans:
        for at, share in spread(span.start_ns, span.end_ns or until_ns, from_ns, cell_ns):
            letter = letter_of(span.name)
            shares[at][letter] = shares[at].get(letter, 0.0) + share

    first = int((spans[0].start_ns - from_ns) / cell_ns)
    return "".join(NOT_KEPT if at < first else leading(share) for at, share in enumerate(shares))


def spread(start_ns: int, end_ns: int, from_ns: int, cell_ns: float) -> Iterator[tuple[int, float]]:
    """Yield the cells that a stretch lies in, and how much of each it takes."""
    start, end = (start_ns - from_ns) / cell_ns, (end_ns - from_ns) / cell_ns

    for at in range(max(0, int(start)), min(CELLS, int(end) + 1)):
        yield at, min(end, at + 1) - max(start, at)


def leading(share: dict[str, float]) -> str:
    letter = max(share, key=lambda one: share[one], default=BETWEEN)
    return letter if share.get(letter, 0.0) >= 0.5 else BETWEEN


def letter_of(operation: str) -> str:
    if "reduce" in operation:
        return REDUCES

    return GATHERS if "gather" in operation else OTHER
