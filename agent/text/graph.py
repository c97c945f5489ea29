"""The wait-for graph as text: each wait once, what it rests on below it, roots last."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.model import WaitEdge, WaitGraph

_MOST = 40


def graph_text(graph: WaitGraph) -> str:
    """Return the drawing."""
    return "\n".join(("who waits for what", *(_lines(graph) if graph.edges else ("  nobody",))))


def _lines(graph: WaitGraph) -> Iterator[str]:
    details = {node.name: node.detail for node in graph.nodes}
    shown = merged(graph.edges)

    for (waiters, awaited, because), evidence in list(shown.items())[:_MOST]:
        yield f"  {waiters} ──▶ {awaited}   {because}"
        yield f"      {evidence}"

    if len(shown) > _MOST:
        yield f"  and {len(shown) - _MOST} more (--json)"

    for root in graph.roots[:_MOST]:
        detail = details.get(root, "")
        yield f"  root  {root}{f': {detail}' if detail else ''}"


def merged(edges: tuple[WaitEdge, ...]) -> dict[tuple[str, str, str], str]:
    """Return the edges with those of equal end and evidence as one; times may differ."""
    found: dict[tuple[str, str], list[WaitEdge]] = {}

    for edge in edges:
        found.setdefault((edge.awaited, edge.evidence), []).append(edge)

    return {
        (_names([edge.waiter for edge in held]), awaited, held[0].because): evidence
        for (awaited, evidence), held in found.items()
    }


def _names(waiters: list[str]) -> str:
    """Return "ranks 0, 2" for "rank 0" and "rank 2"."""
    ranks = [name.removeprefix("rank ") for name in waiters if name.startswith("rank ")]

    if len(ranks) < len(waiters) or len(ranks) < 2:
        return ", ".join(waiters)

    more = f" … ({len(ranks)} ranks)" if len(ranks) > 8 else ""
    return f"ranks {', '.join(ranks[:8])}{more}"
