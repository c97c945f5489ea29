"""What the command palette knows besides Textual's own: ranks by number, node or function."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from dsray_inspect.agent.model import Worker

if TYPE_CHECKING:
    from dsray_inspect.tui.app import InspectApp

MOST = 50


class Ranks(Provider):
    """Goes to a rank."""

    @property
    def inspect(self) -> InspectApp:
        return cast("InspectApp", self.app)

    def _workers(self) -> Iterator[tuple[str, Worker]]:
        snapshot = self.inspect.story.now

        for worker in snapshot.workers if snapshot is not None else ():
            function = f" {worker.function.name}" if worker.function else ""
            yield f"rank {worker.rank} · {worker.hostname or worker.node_ip}{function}", worker

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        found = 0

        for text, worker in self._workers():
            score = matcher.match(text)

            if score > 0 and found < MOST:
                found += 1
                go = partial(self.inspect.open_rank, worker.actor_id)
                yield Hit(score, matcher.highlight(text), go, help="Open this rank")

    async def discover(self) -> Hits:
        for text, worker in list(self._workers())[:8]:
            go = partial(self.inspect.open_rank, worker.actor_id)
            yield DiscoveryHit(text, go, help="Open this rank")
