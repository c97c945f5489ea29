"""Who holds the resources that something of the job waits for, and how much there is."""

from __future__ import annotations

from collections.abc import Mapping

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.handles import Holder
from dsray_inspect.agent.model import Record

MOST_HOLDERS = 4
OWN_JOB = "this job"
LEAST_HELD = 0.1
"""Ray's own actors hold thousandths of a resource, to be placed on some node."""


class Shortage(Record, frozen=True, kw_only=True):
    """A resource of which less is free than is needed."""

    name: str
    needed: float
    free: float
    total: float


class HeldBy(Record, frozen=True, kw_only=True):
    """Who holds a part of what is missing."""

    kind: str
    id: str
    name: str
    members: str
    job: str
    """`OWN_JOB`, or what the other job is called."""
    job_is_dead: bool
    pid: int
    hosts: tuple[str, ...]
    resources: tuple[tuple[str, float], ...]
    """Of those that are missing."""


def shortages_of(sample: AnalysisInput, needed: Mapping[str, float]) -> tuple[Shortage, ...]:
    """Return the resources of which less is free in the whole cluster than is needed."""
    total: dict[str, float] = {}
    free = sample.observation.available

    for node in sample.observation.nodes:
        for name, amount in node.resources.items():
            total[name] = total.get(name, 0.0) + (amount if node.alive else 0.0)

    return tuple(
        Shortage(name=name, needed=amount, free=free.get(name, 0.0), total=total.get(name, 0.0))
        for name, amount in sorted(needed.items())
        if amount > free.get(name, 0.0)
    )


def held_by(sample: AnalysisInput, missing: frozenset[str]) -> tuple[HeldBy, ...]:
    """Return those that hold most of the missing resources."""
    hosts = {node.node_id: node.hostname or node.ip for node in sample.observation.nodes}
    own = sample.observation.job.job_id
    found = [
        (holder, held)
        for holder in sample.observation.holders
        if (held := _held(holder, missing)) and sum(held.values()) >= LEAST_HELD
    ]
    found.sort(key=lambda pair: -sum(pair[1].values()))
    return tuple(
        HeldBy(
            kind=holder.kind,
            id=holder.id,
            name=holder.name,
            members=holder.members,
            job=OWN_JOB if holder.job_id == own else holder.job,
            job_is_dead=holder.job_is_dead,
            pid=holder.pid,
            hosts=tuple(dict.fromkeys(hosts.get(node, node[:8]) for node in holder.node_ids)),
            resources=tuple(sorted(held.items())),
        )
        for holder, held in found[:MOST_HOLDERS]
    )


def _held(holder: Holder, missing: frozenset[str]) -> dict[str, float]:
    return {name: amount for name, amount in holder.resources.items() if name in missing and amount}
