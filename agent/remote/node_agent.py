"""The node agent: an actor of ours, one on each node but our own (sent by value)."""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.remote.node import read_node


class NodeAgent:
    """Answers `read_node` where it runs; it ends with the process that started it."""

    def read(self, request: dict[str, Any]) -> dict[str, Any]:
        return read_node(request)
