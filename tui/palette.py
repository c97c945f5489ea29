"""The ranks in the command palette, found by number, node or function."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from dsray_inspect.agent.model import Worker
from dsray_inspect.tui.messages import OpenRank
from dsray_inspect.tui.state import AppState

_MAX_HITS: Final = 50
_SUGGESTED: Final = 8
_HELP: Final = "Open this rank"


class RankProvider(Provider):
    """Opens the page of a rank."""

    def _workers(self) -> Iterator[tuple[str, Worker]]:
        snapshot = cast("AppState", self.app).view_state.shown

        for worker in snapshot.workers if snapshot is not None else ():
            function = f" {worker.function.name}" if worker.function else ""
            yield f"rank {worker.rank} · {worker.hostname or worker.node_ip}{function}", worker

    def _open(self, worker: Worker) -> None:
        self.app.post_message(OpenRank(worker.actor_id))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        hits = 0

        for text, worker in self._workers():
            score = matcher.match(text)

            if score > 0 and hits < _MAX_HITS:
                hits += 1
                yield Hit(score, matcher.highlight(text), partial(self._open, worker), help=_HELP)

    async def discover(self) -> Hits:
        for text, worker in list(self._workers())[:_SUGGESTED]:
            yield DiscoveryHit(text, partial(self._open, worker), help=_HELP)
