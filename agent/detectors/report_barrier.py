"""`ray.train.report` is a barrier: whoever calls it waits for all others to do so."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.evidence.blocked_in import is_reporting, place
from dsray_inspect.agent.detectors.evidence.collective_waits import name_of, waits
from dsray_inspect.agent.detectors.evidence.rank_index import in_phase
from dsray_inspect.agent.detectors.findings import duration, name_ranks, next_command, ranks
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.detectors.stall import is_quiet, longest_s
from dsray_inspect.agent.model import Finding


@detector(causes=("report_barrier",), after=("blocked_outside_collective",))
def report_barrier(facts: AnalysisInput) -> list[Finding]:
    """Some ranks wait in a report and all others in a collective: each for the other."""
    waiting = waits(facts)
    inside = [wait.member for wait in waiting]
    entered = set(map(id, inside))
    reporting = [
        one for one in in_phase(facts, "report") if id(one) not in entered and is_reporting(one)
    ]

    if not reporting or len(reporting) + len(inside) < len(facts.members):
        return []

    if not any(wait.is_stall for wait in waiting) and not any(map(is_quiet, reporting)):
        return []

    if not inside:
        return []

    alone = len(reporting) < len(inside)
    even = len(reporting) == len(inside)
    reporters = ranks(one.worker for one in reporting)
    others = ranks(one.worker for one in inside)
    blamed = tuple(sorted((*reporters, *others))) if even else reporters if alone else others
    first = waiting[0].collective
    lasts = duration(longest_s(waiting, reporting))
    return [
        Finding(
            cause="report_barrier",
            severity="error",
            ranks=blamed,
            summary=(
                f"{name_ranks(reporters).capitalize()} called ray.train.report and "
                f"{name_ranks(others)} did not: they wait for one another for {lasts}."
            ),
            evidence=(
                f"{name_ranks(reporters)}: in ray.train.report, called by {place(reporting[0])}",
                (
                    f"{name_ranks(others)}: in {name_of(first) if first else 'a collective'}, "
                    f"{place(inside[0])}"
                ),
                "every rank must call ray.train.report equally often",
            ),
            next_step=next_command(facts, "stacks", blamed),
        )
    ]
