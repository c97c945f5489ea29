"""Workers that cannot be placed: the cluster lacks what the placement group asks for."""

from __future__ import annotations

from collections import Counter

from dsray_inspect.agent.assemble.role_waits import needs
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts
from dsray_inspect.agent.detectors.evidence.holders import (
    HeldBy,
    Shortage,
    held_by,
    shortages_of,
)
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.handles import PlacementGroup


class ResourcesPending(Facts, frozen=True, kw_only=True):
    """A placement group that waits; without a shortage no node has room for one whole bundle."""

    placement_group_id: str
    state: str
    bundles: str
    waiting: int
    """How many placement groups of the job wait."""
    shortages: tuple[Shortage, ...]
    holders: tuple[HeldBy, ...]


@detector(causes=("resources_pending",), after=("gil_held",))
def resources_pending(sample: AnalysisInput) -> list[Detection]:
    """No worker lives, and a placement group waits for resources."""
    answers = sample.observation

    if any(worker.state == "alive" for worker in sample.snapshot.workers):
        return []

    waiting = [
        group for group in answers.placement_groups if group.state in ("PENDING", "RESCHEDULING")
    ]
    return [_detection(sample, group, waiting=len(waiting)) for group in waiting[-1:]]


def _detection(sample: AnalysisInput, group: PlacementGroup, *, waiting: int) -> Detection:
    needed = _needed(group)
    shortages = shortages_of(sample, needed)
    missing = frozenset(shortage.name for shortage in shortages) or frozenset(needed)
    return Detection(
        cause="resources_pending",
        severity="error",
        ranks=(),
        facts=ResourcesPending(
            placement_group_id=group.placement_group_id,
            state=group.state,
            bundles=needs(group),
            waiting=waiting,
            shortages=shortages,
            holders=held_by(sample, missing),
        ),
    )


def _needed(group: PlacementGroup) -> dict[str, float]:
    needed: Counter[str] = Counter()

    for bundle in group.bundles:
        needed.update(bundle.resources)

    return dict(needed)
