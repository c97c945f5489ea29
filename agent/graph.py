"""The wait-for graph of one look: ranks and what stands between them are nodes.

A collective, a report or a rendezvous is a node of its own, between those that are in it and
those that have not come: so a thousand ranks make two thousand edges, not a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.blocked_in import (
    is_reporting,
    object_wait_of,
    place,
    quiet_s,
)
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, name_of, waits
from dsray_inspect.agent.detectors.findings import duration
from dsray_inspect.agent.detectors.rendezvous import in_lock
from dsray_inspect.agent.model import Group, NodeKind, WaitEdge, WaitGraph, WaitNode

MOST_ELSEWHERE = 64
"""How many of the ranks that wait in something else a collective points at."""


class Builder:
    """Collects nodes and edges; each node once."""

    def __init__(self) -> None:
        self.nodes: dict[str, WaitNode] = {}
        self.edges: list[WaitEdge] = []

    def node(self, name: str, kind: NodeKind, detail: str = "") -> str:
        self.nodes.setdefault(name, WaitNode(name=name, kind=kind, detail=detail))
        return name

    def edge(self, waiter: str, awaited: str, because: str, evidence: str) -> None:
        self.edges.append(
            WaitEdge(waiter=waiter, awaited=awaited, because=because, evidence=evidence)
        )

    def graph(self) -> WaitGraph:
        waiters = {edge.waiter for edge in self.edges}
        roots = {edge.awaited: None for edge in self.edges if edge.awaited not in waiters}
        return WaitGraph(
            nodes=tuple(self.nodes.values()), edges=tuple(self.edges), roots=tuple(roots)
        )


def graph_of(facts: AnalysisInput) -> WaitGraph:
    """Return who waits for what in this look."""
    builder = Builder()

    for member in facts.members:
        builder.node(name(member), "rank", f"{member.worker.phase}, {place(member)}")

    waiting = waits(facts)
    in_collectives(builder, facts, waiting)
    inside = {id(wait.member) for wait in waiting}
    outside = [member for member in facts.members if id(member) not in inside]
    gather_at(builder, facts, "ray.train.report", "report", list(filter(is_reporting, outside)))
    joining = [one for one in outside if one.worker.phase == "init_process_group"]
    gather_at(builder, facts, "init_process_group", "rendezvous", joining)

    for member in outside:
        by_itself(builder, member)

    above(builder, facts)
    return builder.graph()


def name(member: RankContext) -> str:
    rank = member.worker.rank
    return f"rank {rank}" if rank is not None else f"pid {member.worker.pid}"


def in_collectives(builder: Builder, facts: AnalysisInput, waiting: Sequence[Wait]) -> None:
    """Add each collective that ranks are in, and the ranks of its group that are not."""
    alike: dict[object, list[Wait]] = {}
    groups = Groups(facts.members, waiting, facts.snapshot.groups)

    for wait in waiting:
        one = wait.collective
        what = (one.group, one.sequence, one.operation, one.sizes[:1], one.dtype) if one else None
        alike.setdefault(what, []).append(wait)

    for held in alike.values():
        first = held[0].collective
        key = name_of(first) if first else "a collective"
        node = builder.node(key, "process_group")
        here = {id(wait.member) for wait in held}
        evidence = f"{'flight recorder' if first else 'stack'}, {key}"

        for wait in held:
            builder.edge(name(wait.member), node, f"in it for {duration(wait.waited_s)}", evidence)

        for member in groups.absent(first.group_id if first else None, here):
            builder.edge(node, name(member), "has not come to it", whereabouts(member))


class Groups:
    """The members of each process group: those that wait in a collective, and the others."""

    def __init__(
        self, members: Sequence[RankContext], waiting: Sequence[Wait], groups: Iterable[Group]
    ) -> None:
        self._members = members
        self._ranks = {group.id: group.ranks for group in groups}
        self._waiting = {id(wait.member) for wait in waiting}
        self._by_rank = {member.worker.rank: member for member in members}
        self._known: dict[str | None, tuple[list[RankContext], list[RankContext]]] = {}

    def absent(self, group_id: str | None, here: Set[int]) -> Iterator[RankContext]:
        """Yield who is not `here` (by identity); of those that wait elsewhere the first of many.

        Whoever waits for nothing may be a root, and none is left out.
        """
        others, waiting = self._parts(group_id)
        yield from others
        yield from islice((one for one in waiting if id(one) not in here), MOST_ELSEWHERE)

    def _parts(self, group_id: str | None) -> tuple[list[RankContext], list[RankContext]]:
        """Return a group's members; all of them where its ranks are not known."""
        found = self._known.get(group_id)

        if found is None:
            known = [
                self._by_rank[rank]
                for rank in self._ranks.get(group_id or "", ())
                if rank in self._by_rank
            ]
            members = known or self._members
            found = self._known[group_id] = (
                [one for one in members if id(one) not in self._waiting],
                [one for one in members if id(one) in self._waiting],
            )

        return found


def whereabouts(member: RankContext) -> str:
    seconds = quiet_s(member)
    last = f", its last collective was {duration(seconds)} ago" if seconds is not None else ""
    return f"{member.worker.state}, {member.worker.phase}, in {place(member)}{last}"


def gather_at(
    builder: Builder, facts: AnalysisInput, key: str, kind: NodeKind, here: Iterable[RankContext]
) -> None:
    """Add a place where all ranks must meet."""
    present = {id(member): member for member in here}

    if not present:
        return

    node = builder.node(key, kind)

    for member in present.values():
        builder.edge(name(member), node, "waits in it for all ranks", f"stack, {place(member)}")

    for member in facts.members:
        if id(member) not in present:
            builder.edge(node, name(member), "has not come to it", whereabouts(member))


def by_itself(builder: Builder, member: RankContext) -> None:
    """Add what a rank waits for that is no other rank."""
    own = name(member)
    tracer = member.tracer

    if tracer and member.worker.state == "stopped":
        node = builder.node(f"pid {tracer}", "debugger")
        builder.edge(own, node, "held by it", f"TracerPid of pid {member.worker.pid}")

    if object_wait_of(member) is not None:
        node = builder.node("object store", "object_store")
        builder.edge(own, node, "in ray.get", f"stack, {place(member)}")

    if in_lock(member):
        for path in [lock.path for lock in member.locks] or ["a compile lock"]:
            node = builder.node(path, "lock")
            builder.edge(own, node, "waits until it is gone", "stack, FileBaton.wait")

    if member.worker.phase in ("data", "op_compile") and not in_lock(member):
        for child in member.child_processes[:8]:
            node = builder.node(f"child {child.pid}", "child", child.name)
            builder.edge(own, node, f"its child {child.name}, state {child.state}", "/proc")

    for address in member.dials:
        node = builder.node(address, "address")
        builder.edge(own, node, "dials it", f"SYN_SENT of pid {member.worker.pid}")


def above(builder: Builder, facts: AnalysisInput) -> None:
    """Add the driver, the controller and what these wait for."""
    snapshot = facts.snapshot
    controller = snapshot.controller

    if snapshot.driver is not None and snapshot.driver.waiting_on:
        node = builder.node("driver", "driver", snapshot.driver.waiting_on)

        if controller is not None:
            builder.edge(
                node,
                builder.node("controller", "controller"),
                snapshot.driver.waiting_on,
                f"stack of pid {snapshot.driver.pid}",
            )

    if controller is None:
        return

    for group in facts.observation.placement_groups:
        if group.state in ("PENDING", "RESCHEDULING"):
            node = builder.node(
                f"placement group {group.placement_group_id[:8]}", "placement_group"
            )
            builder.edge("controller", node, f"it is {group.state}", "Ray's placement group table")

    waiters = {edge.waiter for edge in builder.edges}
    ends = dict.fromkeys(edge.awaited for edge in builder.edges if edge.awaited not in waiters)

    for end in ends:
        if builder.nodes[end].kind == "rank" and "controller" in builder.nodes:
            builder.edge("controller", end, "polls it until it returns", controller.state)
