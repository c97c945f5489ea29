"""The node agent: an actor of ours, one on each node but our own (sent by value)."""

from __future__ import annotations

import time
from typing import Any

from dsray_inspect.agent.remote.node import read_node
from dsray_inspect.agent.remote.rank_processes import places_of
from dsray_inspect.agent.remote.run_times import run_times


class NodeAgent:
    """Answers `read_node` where it runs; it ends with the process that started it."""

    def read(self, request: dict[str, Any]) -> dict[str, Any]:
        return read_node(request)

    def run_times(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return how long the `watched` threads have run; see `remote.run_times`."""
        return {"run_times_s": run_times(request["watched"])}

    def places(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the `names` among the live variables of those `pids` that are ranks, by pid."""
        if time.time() > request["until"]:
            return {"late": True}

        return {"places": places_of(request["pids"], request["names"])}
