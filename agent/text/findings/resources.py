"""Workers that cannot be placed, and who holds what they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.evidence.holders import HeldBy, Shortage
from dsray_inspect.agent.detectors.resources import ResourcesPending
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import count

SHOWN_ID = 8


@words.register
def resources_pending(facts: ResourcesPending, _detection: Detection) -> Words:
    short = shortage_lines(facts.shortages)
    lacking = "; ".join(short) or "no node has room for a whole bundle"
    others = f"; {count(facts.waiting, 'placement group')} of this job wait" * (facts.waiting > 1)
    by = f" Held by {holder_name(facts.holders[0])}." if facts.holders else ""
    return Words(
        summary=f"No worker has been placed: the run is waiting for {facts.bundles} ({lacking})"
        f"{others}.{by}",
        evidence=(
            *holder_lines(facts.holders),
            f"placement group {facts.placement_group_id[:SHOWN_ID]} is {facts.state}",
            *short,
        ),
        next_step=next_step(facts.holders),
    )


def shortage_lines(shortages: Iterable[Shortage]) -> tuple[str, ...]:
    return tuple(
        f"{shortage.name}: {shortage.needed:g} needed, {shortage.free:g} free of {shortage.total:g}"
        for shortage in shortages
    )


def holder_lines(holders: Iterable[HeldBy]) -> tuple[str, ...]:
    """Return "CPU: 6 held by actor Sweep (nightly-sweep), pid 71, of job nightly on h1"."""
    return tuple(
        f"{', '.join(f'{name}: {amount:g}' for name, amount in holder.resources)} held by "
        f"{holder_name(holder)}{_on(holder)}"
        for holder in holders
    )


def holder_name(holder: HeldBy) -> str:
    """Return "actor Sweep (nightly-sweep), pid 71, of job nightly"."""
    called = f" ({holder.name})" if holder.name else ""
    dead = ", which has ended" if holder.job_is_dead else ""
    job = holder.job if holder.job == "this job" else f"job {holder.job}"

    if holder.kind == "placement group":
        inside = holder.members or "nothing in it"
        return f"placement group {holder.id[:SHOWN_ID]}{called} ({inside}) of {job}{dead}"

    return f"{holder.kind} {holder.members}{called}, pid {holder.pid}, of {job}{dead}"


def _on(holder: HeldBy) -> str:
    return f" on {', '.join(holder.hosts)}" if holder.hosts else ""


def next_step(holders: Sequence[HeldBy]) -> str:
    """Return the command that shows the first holder, else the whole cluster's resources."""
    if not holders:
        return "ray status"

    return f"ray get {holders[0].kind.replace(' ', '-')}s {holders[0].id}"
