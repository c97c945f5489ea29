"""Asks the nodes which actors of a job are ranks, by the variables in their processes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from dsray_inspect.agent.errors import InspectError
from dsray_inspect.agent.handles import ProcessHandle
from dsray_inspect.agent.launchers.base import NodeReaderHost
from dsray_inspect.agent.launchers.ray.local import raylets
from dsray_inspect.agent.launchers.ray.plain_actors import PLACE_VARIABLES, Places, unknown_places
from dsray_inspect.agent.remote.environ import parent_of
from dsray_inspect.agent.remote.node_agent import NodeAgent
from dsray_inspect.agent.remote.rank_processes import places_of

NOWHERE: Final = 0
SOME_NODES: Final = 16
"""Enough to see of many jobs which have ranks: one of each world will do."""
EVERYWHERE: Final = sys.maxsize
_NODES_S: Final = 8.0
_AGAIN_S: Final = 10.0
"""Other nodes are not asked more often than that: most of the actors never become ranks."""


class ActorPlaces:
    """The places of actors, read once each: a process that is a rank stays that rank."""

    def __init__(self, readers: Callable[[], NodeReaderHost]) -> None:
        self._readers = readers
        self._known: dict[str, dict[str, str]] = {}
        self._asked_at: dict[str, float] = {}
        """By actor id, when its node was last asked."""

    @property
    def known(self) -> Places:
        return self._known

    def read(self, actors: Iterable[ProcessHandle], *, most_nodes: int) -> None:
        """Read the places of actors that are not known yet; so many other nodes are asked."""
        unknown = unknown_places(actors, self._known)
        raylet_of = {raylet.node_id: str(raylet.pid) for raylet in raylets()} if unknown else {}
        here: dict[int, str] = {}
        elsewhere: dict[str, dict[int, str]] = {}

        for row in unknown:
            # In another namespace its pid means another process.
            if parent_of(str(row.pid)) == raylet_of.get(row.node_id):
                here[row.pid] = row.actor_id
            elif (row.node_id in elsewhere or len(elsewhere) < most_nodes) and self._is_due(
                row.actor_id
            ):
                elsewhere.setdefault(row.node_id, {})[row.pid] = row.actor_id

        self._add(here, places_of(list(here), list(PLACE_VARIABLES)))

        if elsewhere:
            self._ask(elsewhere)

    def _is_due(self, actor_id: str) -> bool:
        """Return whether to ask of an actor on another node, and remember that it was."""
        now = time.monotonic()

        if now - self._asked_at.get(actor_id, -math.inf) < _AGAIN_S:
            return False

        self._asked_at[actor_id] = now
        return True

    def _ask(self, by_node: Mapping[str, Mapping[int, str]]) -> None:
        """Ask the other nodes, all at once; one that does not answer tells nothing."""
        try:
            readers = self._readers()
        except InspectError:
            return

        request = {"until": time.time() + _NODES_S, "names": list(PLACE_VARIABLES)}
        references: dict[str, Any] = {}
        agents = []

        for node_id, pids in by_node.items():
            agents.append(readers.start_reader(node_id, NodeAgent))
            references[node_id] = readers.ask_reader(
                agents[-1], "places", {**request, "pids": list(pids)}
            )

        for node_id, answer in readers.answers(references, _NODES_S).items():
            if isinstance(answer, dict):
                self._add(by_node[node_id], answer.get("places", {}))

    def _add(self, actor_ids: Mapping[int, str], places: Mapping[int, dict[str, str]]) -> None:
        self._known |= {actor_ids[pid]: place for pid, place in places.items()}
