"""Ranks that wait in collectives which do not fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, name_of, waits
from dsray_inspect.agent.detectors.findings import duration, name_ranks, next_command, place_of
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Cause, Collective, Finding

MOST = 3
SURE_S = 1.0
"""Ranks that contradict each other will not come to agree: this is only for looks that overlap."""


@detector(causes=("collective_mismatch", "rank_divergence"), after=("report_barrier",))
def collectives_differ(facts: AnalysisInput) -> list[Finding]:
    """Every waiting rank is in a collective, and they are not the same one."""
    waiting = [wait for wait in waits(facts) if wait.collective is not None]

    if not waiting or len(waiting) < len(facts.members):
        return []

    if not (contradict(waiting) or all(wait.is_stall for wait in waiting)):
        return []

    kinds = Counter(kind(wait) for wait in waiting)

    if len(kinds) < 2:
        return []

    usual, count = kinds.most_common(1)[0]
    odd = [wait for wait in waiting if kind(wait) != usual]
    culprits = odd if count * 2 > len(waiting) else waiting
    return [finding(facts, waiting, culprits)]


def contradict(waiting: Sequence[Wait]) -> bool:
    """Tell whether ranks are in the same collective of the same group as different operations.

    A message from one to another has one number on both sides and two operations.
    """
    inside = [collective_of(wait) for wait in waiting]
    return (
        len({(one.group_key, one.sequence) for one in inside}) == 1
        and len({(one.operation, reduced(one)) for one in inside}) > 1
        and not any("send" in one.operation or "recv" in one.operation for one in inside)
        and all(wait.waited_s >= SURE_S for wait in waiting)
    )


def kind(wait: Wait) -> tuple[str, int, str, tuple[tuple[int, ...], ...]]:
    """Return what must be equal on all ranks of a collective.

    Of a gather's or a broadcast's parts the sizes may differ by rank; those of a reduction not.
    """
    one = collective_of(wait)
    return (one.group, one.sequence, one.operation, reduced(one))


def reduced(one: Collective) -> tuple[tuple[int, ...], ...]:
    """Return the sizes of a reduction, which all ranks share."""
    return one.sizes if "reduce" in one.operation else ()


def collective_of(wait: Wait) -> Collective:
    assert wait.collective is not None
    return wait.collective


def finding(facts: AnalysisInput, waiting: Sequence[Wait], culprits: Sequence[Wait]) -> Finding:
    """The same number with another operation or size is a mismatch, another number a divergence."""
    places = {(collective_of(wait).group, collective_of(wait).sequence) for wait in waiting}
    cause: Cause = "collective_mismatch" if len(places) == 1 else "rank_divergence"
    blamed = tuple(sorted(wait.member.worker.rank or 0 for wait in culprits))
    shown = sorted(waiting, key=lambda wait: wait.member.worker.rank or 0)
    waited_s = max(wait.waited_s for wait in waiting)
    places_of: dict[str, list[int]] = {}

    for wait in shown:
        places_of.setdefault(where(wait), []).append(wait.member.worker.rank or 0)

    parts = [f"{name_ranks(numbers)} in {place}" for place, numbers in places_of.items()]
    most = "; ".join(parts[:MOST]) + ("; …" if len(parts) > MOST else "")
    return Finding(
        cause=cause,
        severity="error",
        ranks=blamed,
        summary=f"The ranks wait for one another for {duration(waited_s)}: {most}.",
        evidence=tuple(parts),
        next_step=next_command(facts, "stacks", blamed),
    )


def where(wait: Wait) -> str:
    """Return "all_reduce #36 (…), teach (train.py:61)"."""
    function = wait.member.worker.function
    place = f", {place_of(function)}" if function else ""
    return name_of(collective_of(wait)) + place
