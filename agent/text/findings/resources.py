"""Workers that cannot be placed."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.resources import ResourcesPending
from dsray_inspect.agent.text.findings.wording import Words, words


@words.register
def resources_pending(facts: ResourcesPending, _detection: Detection) -> Words:
    short = tuple(
        f"{one.name}: {one.needed:g} needed, {one.free:g} of {one.total:g} free"
        for one in facts.shortages
    )
    lacking = "; ".join(short) or "no node has room for a whole bundle"
    return Words(
        summary=f"No worker has been placed: the run is waiting for {facts.bundles} ({lacking}).",
        evidence=(f"placement group {facts.placement_group_id[:8]} is {facts.state}", *short),
        next_step="ray status",
    )
