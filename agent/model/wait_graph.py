"""Who waits for what."""

from __future__ import annotations

from dsray_inspect.agent.model.record import Record
from dsray_inspect.agent.model.vocabulary import NodeKind


class WaitNode(Record, frozen=True, kw_only=True):
    """Something that is waited for, or waits: `name` is unique in its graph."""

    name: str
    kind: NodeKind
    detail: str = ""


class WaitEdge(Record, frozen=True, kw_only=True):
    """`waiter` waits for `awaited`; both are names of nodes."""

    waiter: str
    awaited: str
    because: str
    evidence: str


class WaitGraph(Record, frozen=True, kw_only=True):
    """Who waits for what. `roots` are waited for and wait for nothing that was seen."""

    nodes: tuple[WaitNode, ...] = ()
    edges: tuple[WaitEdge, ...] = ()
    roots: tuple[str, ...] = ()
