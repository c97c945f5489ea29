"""Ranks that wait in collectives which do not fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts, Where, place_of
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, waits
from dsray_inspect.agent.detectors.evidence.common_order import (
    Behind,
    behind,
    behind_each_other,
)
from dsray_inspect.agent.detectors.evidence.stall_attribution import Barrier
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Collective, Record

SURE_S = 1.0
"""Ranks that contradict each other will not agree later: this only covers samples that overlap."""

MOST_BEHIND = 2


class RanksIn(Record, frozen=True, kw_only=True):
    """Ranks that wait in one thing, at one place where that is known."""

    ranks: tuple[int, ...]
    waiting_in: Collective | Barrier
    where: Where | None


class MutualWait(Facts, frozen=True, kw_only=True):
    """Ranks that wait for one another, each part in something else."""

    waited_s: float
    parts: tuple[RanksIn, ...]
    behind: tuple[Behind, ...] = ()
    """The culprits that have entered fewer collectives than those that wait for them."""


@detector(causes=("collective_mismatch", "rank_divergence"), after=("report_barrier",))
def collectives_differ(sample: AnalysisInput) -> list[Detection]:
    """Every waiting rank is in a collective, and they are not the same one."""
    waiting = [wait for wait in waits(sample) if wait.collective is not None]

    if not waiting or len(waiting) < len(sample.members):
        return []

    if not (_contradict(waiting) or all(wait.is_stall for wait in waiting)):
        return []

    kinds = Counter(_kind(wait) for wait in waiting)

    if len(kinds) < 2:
        return []

    usual, number = kinds.most_common(1)[0]
    odd = [wait for wait in waiting if _kind(wait) != usual]
    culprits = odd if number * 2 > len(waiting) else _slipped(sample, waiting)
    return [_detection(sample, waiting, culprits)]


def _slipped(sample: AnalysisInput, waiting: Sequence[Wait]) -> Sequence[Wait]:
    """Return who has left the common order of collectives, everybody where that does not show."""
    behind_since = {
        late.rank for late in behind_each_other(sample, waiting) if late.since_step is not None
    }
    found = [wait for wait in waiting if wait.member.worker.rank in behind_since]
    return found if len(found) * 2 <= len(waiting) and found else waiting


def _contradict(waiting: Sequence[Wait]) -> bool:
    """Tell whether ranks are in the same collective of the same group as different operations.

    A message between two ranks has one number on both sides and two operations.
    """
    inside = [_collective_of(wait) for wait in waiting]
    return (
        len({(entered.group_key, entered.sequence) for entered in inside}) == 1
        and len({(entered.operation, _reduced(entered)) for entered in inside}) > 1
        and not any(
            "send" in entered.operation or "recv" in entered.operation for entered in inside
        )
        and all(wait.waited_s >= SURE_S for wait in waiting)
    )


def _kind(wait: Wait) -> tuple[str, int, str, tuple[tuple[int, ...], ...]]:
    """Return what must be equal on all ranks of a collective.

    The parts of a gather or a broadcast may differ in size by rank; those of a reduction may not.
    """
    entered = _collective_of(wait)
    return (entered.group, entered.sequence, entered.operation, _reduced(entered))


def _reduced(entered: Collective) -> tuple[tuple[int, ...], ...]:
    """Return the sizes of a reduction, which all ranks share."""
    return entered.sizes if "reduce" in entered.operation else ()


def _collective_of(wait: Wait) -> Collective:
    assert wait.collective is not None
    return wait.collective


def _detection(
    sample: AnalysisInput, waiting: Sequence[Wait], culprits: Sequence[Wait]
) -> Detection:
    """The same number with another operation or size is a mismatch, another number a divergence."""
    numbers = {(_collective_of(wait).group, _collective_of(wait).sequence) for wait in waiting}
    return Detection(
        cause="collective_mismatch" if len(numbers) == 1 else "rank_divergence",
        severity="error",
        ranks=tuple(sorted(wait.member.worker.rank or 0 for wait in culprits)),
        facts=MutualWait(
            waited_s=max(wait.waited_s for wait in waiting),
            parts=_parts(waiting),
            behind=tuple(behind(sample, culprits, waiting)[:MOST_BEHIND]),
        ),
    )


def _parts(waiting: Sequence[Wait]) -> tuple[RanksIn, ...]:
    """Return the ranks by what they are in and where, in the order of the first of each."""
    alike: dict[object, list[Wait]] = {}

    for wait in sorted(waiting, key=lambda wait: wait.member.worker.rank or 0):
        entered = _collective_of(wait)
        what = (
            entered.group,
            entered.sequence,
            entered.operation,
            entered.sizes[:1],
            entered.dtype,
        )
        alike.setdefault((what, _place_of(wait)), []).append(wait)

    return tuple(
        RanksIn(
            ranks=tuple(wait.member.worker.rank or 0 for wait in same),
            waiting_in=_collective_of(same[0]),
            where=_place_of(same[0]),
        )
        for same in alike.values()
    )


def _place_of(wait: Wait) -> Where | None:
    function = wait.member.worker.function
    return place_of(function) if function else None
