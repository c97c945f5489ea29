"""`ray.train.report` is a barrier: a rank that calls it waits until all others have, too."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts, Where, rank_numbers
from dsray_inspect.agent.detectors.evidence.blocked_in import is_reporting, where
from dsray_inspect.agent.detectors.evidence.collective_waits import is_quiet, longest_s, waits
from dsray_inspect.agent.detectors.evidence.rank_index import in_phase
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Collective


class ReportBarrier(Facts, frozen=True, kw_only=True):
    """Ranks in a report, and ranks in a collective, with the place of the first of each."""

    reporters: tuple[int, ...]
    reports_at: Where
    others: tuple[int, ...]
    others_at: Where
    collective: Collective | None
    waited_s: float


@detector(causes=("report_barrier",), after=("blocked_outside_collective",))
def report_barrier(sample: AnalysisInput) -> list[Detection]:
    """Some ranks wait in a report and all others in a collective: each for the other."""
    waiting = waits(sample)
    inside = [wait.member for wait in waiting]
    entered = set(map(id, inside))
    reporting = [
        member
        for member in in_phase(sample, "report")
        if id(member) not in entered and is_reporting(member)
    ]

    if not reporting or not inside or len(reporting) + len(inside) < len(sample.members):
        return []

    if not any(wait.is_stall for wait in waiting) and not any(map(is_quiet, reporting)):
        return []

    reporters = rank_numbers(member.worker for member in reporting)
    others = rank_numbers(member.worker for member in inside)
    fewer = reporters if len(reporting) < len(inside) else others
    is_even = len(reporting) == len(inside)
    return [
        Detection(
            cause="report_barrier",
            severity="error",
            ranks=tuple(sorted((*reporters, *others))) if is_even else fewer,
            facts=ReportBarrier(
                reporters=reporters,
                reports_at=where(reporting[0]),
                others=others,
                others_at=where(inside[0]),
                collective=waiting[0].collective,
                waited_s=longest_s(waiting, reporting),
            ),
        )
    ]
