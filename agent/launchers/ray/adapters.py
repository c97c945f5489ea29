"""A Ray Train run as its actors show it, and what an adapter of a generation must know."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.base import Part


class Adapter(Protocol):
    """One generation of Ray Train."""

    generation: str
    without_controller: str
    """Why the controller cannot be asked, where it cannot."""

    @property
    def controller_parts(self) -> Sequence[Part]:
        """What is run in the controller, nothing where none can be asked."""
        ...

    def runs(self, actors: Sequence[ProcessHandle]) -> list[RunHandle]:
        """Return the runs among the actors of one job, oldest first."""
        ...


def began(row: ProcessHandle) -> float:
    """Return when an actor came alive; Ray gives no time to one that waits, which is the newest."""
    return row.started_at or math.inf


def present_group(workers: Iterable[ProcessHandle]) -> tuple[ProcessHandle, ...]:
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
