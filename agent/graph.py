"""The wait-for graph of one sample: ranks, and what is between them, are nodes.

A collective, a report or a rendezvous is a node of its own, between those that are in it and
those that have not reached it: so a thousand ranks make two thousand edges, not a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.blocked_calls import end_waits
from dsray_inspect.agent.detectors.evidence.blocked_in import (
    is_reporting,
    object_wait_of,
)
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, waits
from dsray_inspect.agent.detectors.evidence.compile_locks import waits_for_lock
from dsray_inspect.agent.detectors.evidence.file_locks import file_lock_waits
from dsray_inspect.agent.model import Group, NodeKind, WaitEdge, WaitGraph, WaitNode
from dsray_inspect.agent.text import wait_graph as words

_MOST_ELSEWHERE = 64
"""How many of the ranks that wait in something else a collective points at."""


class _Builder:
    """Collects nodes and edges; each node once."""

    def __init__(self) -> None:
        self.nodes: dict[str, WaitNode] = {}
        self.edges: list[WaitEdge] = []

    def node(self, name: str, kind: NodeKind, detail: str = "") -> str:
        self.nodes.setdefault(name, WaitNode(name=name, kind=kind, detail=detail))
        return name

    def process(self, rank: int | None, pid: int, program: str) -> str:
        """Return the node of a process, which may be a rank."""
        if rank is not None:
            return self.node(f"rank {rank}", "rank", program)

        return self.node(f"pid {pid}", "child", program)

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


def graph_of(sample: AnalysisInput) -> WaitGraph:
    """Return who waits for what in this sample."""
    builder = _Builder()

    for member in sample.members:
        builder.node(words.rank_name(member), "rank", words.rank_detail(member))

    waiting = waits(sample)
    _in_collectives(builder, sample, waiting)
    inside = {id(wait.member) for wait in waiting}
    outside = [member for member in sample.members if id(member) not in inside]
    _gather_at(builder, sample, "ray.train.report", "report", list(filter(is_reporting, outside)))
    joining = [member for member in outside if member.worker.phase == "init_process_group"]
    _gather_at(builder, sample, "init_process_group", "rendezvous", joining)

    for member in outside:
        _by_itself(builder, sample, member)

    _above(builder, sample)
    return builder.graph()


def _in_collectives(builder: _Builder, sample: AnalysisInput, waiting: Sequence[Wait]) -> None:
    """Add each collective that ranks are in, and the ranks of its group that are not."""
    alike: dict[object, list[Wait]] = {}
    groups = _Groups(sample.members, waiting, sample.snapshot.groups)

    for wait in waiting:
        alike.setdefault(_same_collective(wait), []).append(wait)

    for held in alike.values():
        first = held[0].collective
        node = builder.node(words.meeting_name(first), "process_group")
        here = {id(wait.member) for wait in held}
        evidence = words.meeting_evidence(first)

        for wait in held:
            waiter = words.rank_name(wait.member)
            builder.edge(waiter, node, words.waits_since(wait.waited_s), evidence)

        for member in groups.absent(first.group_id if first else None, here):
            builder.edge(
                node, words.rank_name(member), words.NOT_REACHED, words.whereabouts(member)
            )


def _same_collective(wait: Wait) -> object:
    """Return what is equal for ranks in one collective."""
    entered = wait.collective

    if entered is None:
        return None

    return entered.group, entered.sequence, entered.operation, entered.sizes[:1], entered.dtype


class _Groups:
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
        yield from islice((member for member in waiting if id(member) not in here), _MOST_ELSEWHERE)

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
                [member for member in members if id(member) not in self._waiting],
                [member for member in members if id(member) in self._waiting],
            )

        return found


def _gather_at(
    builder: _Builder, sample: AnalysisInput, key: str, kind: NodeKind, here: Iterable[RankContext]
) -> None:
    """Add a place where all ranks must meet."""
    present = {id(member): member for member in here}

    if not present:
        return

    node = builder.node(key, kind)

    for member in present.values():
        builder.edge(words.rank_name(member), node, words.MEETS_ALL, words.stack_evidence(member))

    for member in sample.members:
        if id(member) not in present:
            builder.edge(
                node, words.rank_name(member), words.NOT_REACHED, words.whereabouts(member)
            )


def _by_itself(builder: _Builder, sample: AnalysisInput, member: RankContext) -> None:
    """Add what a rank waits for that is no other rank."""
    own, pid = words.rank_name(member), member.worker.pid
    tracer = member.tracer

    if tracer and member.worker.state == "stopped":
        node = builder.node(words.process_name(tracer), "debugger")
        builder.edge(own, node, words.HELD, words.process_evidence("TracerPid", pid))

    if object_wait_of(member) is not None:
        node = builder.node(words.OBJECT_STORE, "object_store")
        builder.edge(own, node, words.IN_RAY_GET, words.stack_evidence(member))

    if waits_for_lock(member):
        for path in [lock.path for lock in member.locks] or [words.SOME_LOCK]:
            node = builder.node(path, "lock")
            builder.edge(own, node, words.AWAITS_REMOVAL, words.LOCK_STACK)

    for lock in file_lock_waits(sample, member):
        node = builder.node(lock.path or "a file lock", "lock")
        builder.edge(own, node, "waits for this file lock", "/proc/locks")

        if lock.holder_pid:
            holder = builder.process(lock.holder_rank, lock.holder_pid, lock.holder_name)
            builder.edge(node, holder, "held by it", "/proc/locks")

    for end in end_waits(sample, member):
        for other in end.others:
            node = builder.process(other.rank, other.pid, other.name)
            because = words.end_wait(end.kind, writes=end.writes)
            builder.edge(own, node, because, words.process_evidence("syscall", pid))

    if member.worker.phase in ("data", "op_compile") and not waits_for_lock(member):
        for child in member.child_processes[:8]:
            node = builder.node(words.child_name(child.pid), "child", child.name)
            builder.edge(own, node, words.child_state(child.name, child.state), "/proc")

    for address in member.dials:
        node = builder.node(address, "address")
        builder.edge(own, node, words.CONNECTING, words.process_evidence("SYN_SENT", pid))


def _above(builder: _Builder, sample: AnalysisInput) -> None:
    """Add the driver, the controller and what they wait for."""
    snapshot = sample.snapshot
    controller = snapshot.controller

    if snapshot.driver is not None and snapshot.driver.waiting_on:
        node = builder.node("driver", "driver", snapshot.driver.waiting_on)

        if controller is not None:
            builder.edge(
                node,
                builder.node("controller", "controller"),
                snapshot.driver.waiting_on,
                words.process_evidence("stack", snapshot.driver.pid),
            )

    if controller is None:
        return

    for group in sample.observation.placement_groups:
        if group.state in ("PENDING", "RESCHEDULING"):
            node = builder.node(
                words.placement_group_name(group.placement_group_id), "placement_group"
            )
            builder.edge("controller", node, words.group_state(group.state), words.GROUP_TABLE)

    waiters = {edge.waiter for edge in builder.edges}
    ends = dict.fromkeys(edge.awaited for edge in builder.edges if edge.awaited not in waiters)

    for end in ends:
        if builder.nodes[end].kind == "rank" and "controller" in builder.nodes:
            builder.edge("controller", end, words.POLLING, controller.state)
