"""What the ranks did before the attach, condensed to a few hundred characters per rank.

Computed from the timeline that `trace --past` reads from torch's flight recorders.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from dsray_inspect.agent.lateness import WORTH_TELLING_SHARE, is_late, loss_over, meeting
from dsray_inspect.agent.model import Record
from dsray_inspect.agent.timeline import Span, Timeline
from dsray_inspect.agent.tracing.summarize import spans_by_collective

CELLS: Final = 240
"""Number of equal intervals that the time is divided into."""
MAX_RANKS: Final = 64
"""The recorders of more ranks amount to many megabytes; `trace --past` reads them all."""
NOT_KEPT: Final = " "
BETWEEN: Final = "."
REDUCES: Final = "r"
GATHERS: Final = "g"
OTHER: Final = "c"
"""Letters of cells: not recorded, between collectives, kinds of collectives."""


class RankHistory(Record, frozen=True, kw_only=True):
    """One rank; `cells` has one letter per interval, oldest first."""

    rank: int
    cells: str
    late_s: float
    """How long other ranks waited in collectives that this rank entered last."""


class History(Record, frozen=True, kw_only=True):
    """The period covered by the recorders; `note` says why there is none."""

    from_ns: int = 0
    until_ns: int = 0
    steps: int = 0
    step_s: float | None = None
    """The median duration of a step; None if no steps are known."""
    step_ended_ns: int | None = None
    """When the last complete step of any rank ended."""
    ranks: tuple[RankHistory, ...] = ()
    note: str = ""

    @property
    def span_s(self) -> float:
        return (self.until_ns - self.from_ns) / 1e9

    def is_late(self, rank: RankHistory) -> bool:
        """Return whether other ranks spent a considerable share of the time waiting for this one."""
        others_s = [other.late_s for other in self.ranks if other is not rank]
        return is_late(
            rank.late_s, max(others_s, default=0.0), self.span_s, share=WORTH_TELLING_SHARE
        )


def history_of(timeline: Timeline) -> History:
    """Condense a timeline's collectives."""
    collectives = [span for span in timeline.spans if span.kind == "collective"]

    if not collectives:
        return History(note=next(iter(timeline.notes), "the flight recorders hold no collective"))

    from_ns = min(span.start_ns for span in collectives)
    until_ns = timeline.until_ns or max(span.end_ns or span.start_ns for span in collectives)
    late_s = _lateness_s(timeline)
    steps = [span for span in timeline.spans if span.kind == "step" and span.end_ns is not None]
    return History(
        from_ns=from_ns,
        until_ns=until_ns,
        steps=len({span.step for span in steps}),
        step_s=statistics.median(_duration_s(span) for span in steps) if steps else None,
        step_ended_ns=max((span.end_ns or 0 for span in steps), default=None),
        ranks=tuple(
            RankHistory(
                rank=process.rank,
                cells=_cell_letters(
                    [span for span in collectives if span.process == n], from_ns, until_ns
                ),
                late_s=late_s.get(n, 0.0),
            )
            for n, process in enumerate(timeline.processes)
            if process.rank is not None
        ),
    )


def _duration_s(span: Span) -> float:
    assert span.end_ns is not None
    return (span.end_ns - span.start_ns) / 1e9


def _lateness_s(timeline: Timeline) -> dict[int, float]:
    """Return how long the second-to-last rank waited for each process that entered last."""
    members = len(timeline.processes)
    met = []

    for spans in spans_by_collective(timeline).values():
        if len(spans) > 1:
            found = meeting([span.start_ns for span in spans])
            met.append(found._replace(last=spans[found.last].process))

    return dict(enumerate(loss_over(met, members).lost_s)) if met else {}


def _cell_letters(spans: Sequence[Span], from_ns: int, until_ns: int) -> str:
    """Return a letter per cell: the kind of collective that took most of it, or none."""
    if not spans:
        return NOT_KEPT * CELLS

    cell_ns = max(1.0, (until_ns - from_ns) / CELLS)
    shares: list[dict[str, float]] = [{} for _ in range(CELLS)]

    for span in spans:
        letter = _letter(span.name)

        for cell, share in _overlaps(span.start_ns, span.end_ns or until_ns, from_ns, cell_ns):
            shares[cell][letter] = shares[cell].get(letter, 0.0) + share

    first = int((spans[0].start_ns - from_ns) / cell_ns)
    return "".join(
        NOT_KEPT if cell < first else _dominant(share) for cell, share in enumerate(shares)
    )


def _overlaps(
    start_ns: int, end_ns: int, from_ns: int, cell_ns: float
) -> Iterator[tuple[int, float]]:
    """Yield the cells that an interval overlaps, and the share of each that it covers."""
    start, end = (start_ns - from_ns) / cell_ns, (end_ns - from_ns) / cell_ns

    for cell in range(max(0, int(start)), min(CELLS, int(end) + 1)):
        yield cell, min(end, cell + 1) - max(start, cell)


def _dominant(share: dict[str, float]) -> str:
    letter = max(share, key=lambda letter: share[letter], default=BETWEEN)
    return letter if share.get(letter, 0.0) >= 0.5 else BETWEEN


def _letter(operation: str) -> str:
    if "reduce" in operation:
        return REDUCES

    return GATHERS if "gather" in operation else OTHER
