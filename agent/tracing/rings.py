"""Reads the rings of all nodes: directly where this process can open them, else through an actor."""

from __future__ import annotations

import os
import time
from typing import Any

from dsray_inspect.agent.launchers.base import CallFailed, NodeReaderHost
from dsray_inspect.agent.probes.collect import Collector
from dsray_inspect.agent.tracing.capture import Rank
from dsray_inspect.agent.unavailable import Unavailable

_AGENT_S = 6.0
"""How long starting an actor and its first answer may take."""


class Rings:
    """The ring collectors of one trace, one per node."""

    def __init__(self, host: NodeReaderHost | Unavailable, *, token: int, lease_s: float) -> None:
        self._host = host
        self._token = token
        self._lease_s = lease_s
        self._local = Collector()
        self._remote: dict[str, Any] = {}
        self._pending: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        """The reason why a node's rings could not be read, by node id."""

    def collect(self, ranks: list[Rank], *, last: bool = False) -> None:
        """Add new records to the ranks and renew the leases; with `last`, release them."""
        by_node: dict[str, list[Rank]] = {}

        for rank in ranks:
            if isinstance(rank.probe, dict):
                ring, mode = rank.probe["ring"], os.R_OK | os.W_OK
                is_local = rank.probe.get("here") or os.access(ring, mode)
                rank.probe["here"] = bool(is_local)
                node = "" if is_local else rank.worker.node_id
                by_node.setdefault(node, []).append(rank)

        for node, on_node in by_node.items():
            request = self._request(on_node, last=last)

            if not node:
                self._take(on_node, self._local.collect(request))
            elif node not in self._pending:
                self._ask(node, request)

        self._take_remote(by_node, _AGENT_S if last else 0.0)

        if last and self._pending:  # an earlier request was still pending when the last one was due
            self.failed.update(dict.fromkeys(self._pending, "it did not answer"))

    def wait(self, ranks: list[Rank], timeout_s: float) -> None:
        """Wait for pending answers."""
        by_node: dict[str, list[Rank]] = {}

        for rank in ranks:
            by_node.setdefault(rank.worker.node_id, []).append(rank)

        self._take_remote(by_node, timeout_s)

    def _request(self, ranks: list[Rank], *, last: bool) -> dict[str, Any]:
        probes = [rank.probe for rank in ranks if isinstance(rank.probe, dict)]
        return {
            "until": time.time() + self._lease_s,
            "token": self._token,
            "lease_s": 0.0 if last else self._lease_s,
            "rings": [probe["ring"] for probe in probes],
            "joined": {probe["ring"]: probe["joined"] for probe in probes},
            "last": last,
        }

    def _ask(self, node: str, request: dict[str, Any]) -> None:
        if isinstance(self._host, Unavailable):
            self.failed[node] = str(self._host)
            return

        if node not in self._remote:
            self._remote[node] = self._host.start_reader(node, Collector)

        self._pending[node] = self._host.ask_reader(self._remote[node], "collect", request)

    def _take_remote(self, by_node: dict[str, list[Rank]], timeout_s: float) -> None:
        if isinstance(self._host, Unavailable):
            return

        for node, answer in self._host.answers(dict(self._pending), timeout_s).items():
            del self._pending[node]

            if isinstance(answer, CallFailed):
                self.failed[node] = str(answer)
            else:
                self._take(by_node.get(node, []), answer)

    def _take(self, ranks: list[Rank], answer: dict[str, Any]) -> None:
        for rank in ranks:
            found = (
                answer.get("rings", {}).get(rank.probe["ring"])
                if isinstance(rank.probe, dict)
                else None
            )

            if found is not None and "records" in found:
                rank.records += found["records"]
                rank.dropped = found["dropped"]
                rank.open_spans = found["open"]
                rank.alive, rank.closed = found["alive"], found["closed"]
                rank.wall_ns, rank.clock_ns = found["wall_ns"], found["clock_ns"]
                rank.main_thread = found["main_thread"]
            elif found is not None:
                self.failed[rank.worker.node_id] = found["why"]
