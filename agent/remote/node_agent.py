"""The node agent: an actor of ours, one on each node but our own (sent by value)."""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.remote.node import look


class NodeAgent:
    """Answers `node.look` where it runs; it ends with the process that started it."""

    def look(self, request: dict[str, Any]) -> dict[str, Any]:
        return look(request)
