"""Which ranks and processes wait for which others, and for what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.text.graph import merged
from dsray_inspect.tui.drawing import wrapped
from dsray_inspect.tui.rows import Row, blank, heading, row
from dsray_inspect.tui.targets import RankTarget, Target

_MAX_SHOWN: Final = 24


def wait_rows(snapshot: Snapshot, width: int) -> Iterator[Row]:
    """Yield each wait once with its evidence, then what is waited for and waits for nothing."""
    graph = snapshot.graph

    if not graph.edges:
        return

    yield heading("who waits for what")
    targets: dict[str, Target] = {
        f"rank {worker.rank}": RankTarget(worker.actor_id) for worker in snapshot.workers
    }
    waits = list(merged(graph.edges).items())

    for number, ((waiters, awaited, because), evidence) in enumerate(waits[:_MAX_SHOWN]):
        yield row(
            f"wait {number}",
            ("   ○ ", "warning"),
            (f"{waiters} ", "bold"),
            ("──▶ ", ""),
            (awaited, "error" if awaited in graph.roots else "bold"),
            target=targets.get(awaited),
        )
        why = f"{because} · {evidence}"

        for line, text in enumerate(wrapped(why, max(20, width - 10), 3)):
            yield row(f"wait {number} evidence {line}", (f"       {text}", "dim"))

    if len(waits) > _MAX_SHOWN:
        hidden = len(waits) - _MAX_SHOWN
        yield row("more waits", (f"   … and {hidden} more (--json has all)", "dim"))

    details = {node.name: node.detail for node in graph.nodes}

    for root in graph.roots[:_MAX_SHOWN]:
        detail = details.get(root, "")
        why = f"   waits for nothing that was seen{f': {detail}' if detail else ''}"
        target = targets.get(root)
        yield row(f"root {root}", ("   ✗ ", "error"), (root, "error"), (why, ""), target=target)

    yield blank()
