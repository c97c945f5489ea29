"""Workers that cannot be placed: the cluster lacks what the placement group asks for."""

from __future__ import annotations

from dsray_inspect.agent.assemble.role_waits import needs
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.handles import PlacementGroup
from dsray_inspect.agent.model import Record


class Shortage(Record, frozen=True, kw_only=True):
    """A resource of which less is free than the placement group needs."""

    name: str
    needed: float
    free: float
    total: float


class ResourcesPending(Facts, frozen=True, kw_only=True):
    """A placement group that waits; without a shortage no node has room for one whole bundle."""

    placement_group_id: str
    state: str
    bundles: str
    shortages: tuple[Shortage, ...]


@detector(causes=("resources_pending",), after=("gil_held",))
def resources_pending(sample: AnalysisInput) -> list[Detection]:
    """No worker lives, and a placement group waits for resources."""
    answers = sample.observation

    if any(worker.state == "alive" for worker in sample.snapshot.workers):
        return []

    waiting = [
        group for group in answers.placement_groups if group.state in ("PENDING", "RESCHEDULING")
    ]
    return [_detection(sample, group) for group in waiting[-1:]]


def _detection(sample: AnalysisInput, group: PlacementGroup) -> Detection:
    return Detection(
        cause="resources_pending",
        severity="error",
        ranks=(),
        facts=ResourcesPending(
            placement_group_id=group.placement_group_id,
            state=group.state,
            bundles=needs(group),
            shortages=_shortages(sample, group),
        ),
    )


def _shortages(sample: AnalysisInput, group: PlacementGroup) -> tuple[Shortage, ...]:
    needed: dict[str, float] = {}
    total: dict[str, float] = {}
    free = sample.observation.available

    for bundle in group.bundles:
        for name, amount in bundle.resources.items():
            needed[name] = needed.get(name, 0.0) + amount

    for node in sample.observation.nodes:
        for name, amount in node.resources.items():
            total[name] = total.get(name, 0.0) + (amount if node.alive else 0.0)

    return tuple(
        Shortage(name=name, needed=amount, free=free.get(name, 0.0), total=total.get(name, 0.0))
        for name, amount in sorted(needed.items())
        if amount > free.get(name, 0.0)
    )
