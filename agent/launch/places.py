"""Where each rank is under another launcher: nodes in order, ranks numbered through them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dsray_inspect.agent.launch.plan import PlannedNode
from dsray_inspect.agent.model import Record


class Place(Record, frozen=True, kw_only=True):
    """What the templates of `compat.launch_variables` are filled with."""

    rank: int
    local_rank: int
    wrapped_rank: int
    """What DeepSpeed's launcher takes for the local rank: the rank modulo the ranks of its node."""
    node_rank: int
    world_size: int
    local_world_size: int
    nodes: int
    local_ids: str
    threads: int
    master_addr: str
    master_port: int
    interpreter: str
    arguments: str

    def fill(self, template: str) -> str:
        return template.format_map({name: getattr(self, name) for name in self.__struct_fields__})


def even(nodes: Sequence[PlannedNode]) -> tuple[PlannedNode, ...]:
    """Return nodes with equally many ranks each, as many ranks in all."""
    counts = [len(node.ranks) for node in nodes]
    per_node = math.gcd(*counts)

    if set(counts) == {per_node}:
        return tuple(nodes)

    shares = [
        (node, node.ranks[start : start + per_node])
        for node in nodes
        for start in range(0, len(node.ranks), per_node)
    ]
    return tuple(
        PlannedNode(
            ip=node.ip,
            hostname=node.hostname,
            ranks=ranks,
            cpus=_part(node.cpus, len(ranks), node),
            gpus=_part(node.gpus, len(ranks), node),
        )
        for node, ranks in shares
    )


def _part(whole: float | None, ranks: int, node: PlannedNode) -> float | None:
    return None if whole is None else whole * ranks / len(node.ranks)


def numbered(nodes: Sequence[PlannedNode]) -> Iterator[tuple[int, int, int, int]]:
    """Yield rank, local rank, node's rank and the live rank that stands there."""
    rank = 0

    for node_rank, node in enumerate(nodes):
        for local_rank, live in enumerate(node.ranks):
            yield rank, local_rank, node_rank, live
            rank += 1
