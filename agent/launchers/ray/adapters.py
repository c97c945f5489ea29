"""A Ray Train run as its actors show it, and what an adapter of a generation must know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from dsray_inspect.agent.launchers.ray.records import ActorRow

Part = Callable[[Any, dict[str, Any], dict[str, Any]], dict[str, Any]]
"""What runs inside an actor: `part(actor, request, seen)`; see `remote.reads`."""


class RunActors(msgspec.Struct, frozen=True, kw_only=True):
    """The actors of one run: its controller if it has one, and its present worker group."""

    generation: str
    controller: ActorRow | None
    workers: tuple[ActorRow, ...]

    @property
    def alive(self) -> bool:
        """Whether any of its actors lives or is about to."""
        rows = (self.controller, *self.workers)
        return any(row.alive or row.starting for row in rows if row is not None)

    @property
    def some_ended(self) -> bool:
        """Whether a worker of the group is no longer, or not yet, alive."""
        return not all(row.alive for row in self.workers)

    def is_same(self, other: RunActors) -> bool:
        """Return whether both are one run, perhaps at different attempts."""
        if self.controller is not None and other.controller is not None:
            return self.controller.actor_id == other.controller.actor_id

        owners = {row.owner_worker_id for row in other.workers}
        return any(row.owner_worker_id in owners for row in self.workers)


class Adapter(Protocol):
    """One generation of Ray Train."""

    generation: str
    controller_parts: Sequence[Part]
    """What rung 1 runs in the controller, nothing where there is no controller."""
    without_controller: str
    """Why rung 1 cannot answer, "" where it can."""

    def runs(self, actors: Sequence[ActorRow]) -> list[RunActors]:
        """Return the runs among the actors of one job, oldest first."""
        ...


def present_group(workers: Iterable[ActorRow]) -> tuple[ActorRow, ...]:
    """Return the workers of the latest attempt: those of the newest placement group.

    Each attempt has a placement group of its own. A member that died stays in the list, so
    that its rank is not silently missing.
    """
    rows = sorted(workers, key=lambda row: (row.started_at, row.actor_id))

    if not rows:
        return ()

    living = [row for row in rows if row.alive] or [row for row in rows if row.starting] or rows
    newest = max(living, key=lambda row: row.started_at).placement_group_id
    return tuple(row for row in rows if row.placement_group_id == newest)
