"""Workers that cannot be placed: the cluster lacks what the placement group asks for."""

from __future__ import annotations

from dsray_inspect.agent.assemble.role_waits import needs
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.handles import PlacementGroup
from dsray_inspect.agent.model import Finding


@detector(causes=("resources_pending",), after=("gil_held",))
def resources_pending(facts: AnalysisInput) -> list[Finding]:
    observation = facts.observation

    if any(worker.state == "alive" for worker in facts.snapshot.workers):
        return []

    waiting = [
        group
        for group in observation.placement_groups
        if group.state in ("PENDING", "RESCHEDULING")
    ]
    return [finding(facts, group) for group in waiting[-1:]]


def finding(facts: AnalysisInput, group: PlacementGroup) -> Finding:
    wanted: dict[str, float] = {}

    for bundle in group.bundles:
        for name, amount in bundle.resources.items():
            wanted[name] = wanted.get(name, 0.0) + amount

    total: dict[str, float] = {}

    for node in facts.observation.nodes:
        for name, amount in node.resources.items():
            total[name] = total.get(name, 0.0) + (amount if node.alive else 0.0)

    free = facts.observation.available
    short = [
        f"{name}: needs {amount:g}, {free.get(name, 0):g} free of {total.get(name, 0):g}"
        for name, amount in sorted(wanted.items())
        if amount > free.get(name, 0.0)
    ]
    lacking = "; ".join(short) or "no node has room for one whole bundle"
    return Finding(
        cause="resources_pending",
        severity="error",
        ranks=(),
        summary=f"No worker is placed: the run waits for {needs(group)} ({lacking}).",
        evidence=(
            f"placement group {group.placement_group_id[:8]} is {group.state}",
            *short,
        ),
        next_step="ray status",
    )
