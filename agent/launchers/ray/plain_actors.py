"""Worlds of torch.distributed whose ranks are actors of the user's own, as OpenRLHF starts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.compat import launchers as shelf
from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.base import Part
from dsray_inspect.agent.launchers.ray.adapters import began

RANK, WORLD_SIZE = shelf.RANK_VARIABLES[0]
PLACE_VARIABLES: Final = (RANK, WORLD_SIZE, *shelf.MASTER)
_RAYS_OWN: Final = "ray."

Places = Mapping[str, Mapping[str, str]]
"""By actor id, what `PLACE_VARIABLES` are in its process, as far as they were read there."""


class PlainActors:
    """Nobody owns the ranks but the driver, or an actor of the user's."""

    generation = "actors"
    controller_parts: Sequence[Part] = ()
    without_controller = "ranks in plain actors have no controller"

    def runs(self, actors: Sequence[ProcessHandle]) -> list[RunHandle]:
        """Return the worlds that Ray's own table tells of."""
        return self.worlds(actors, {})

    def worlds(self, actors: Sequence[ProcessHandle], places: Places) -> list[RunHandle]:
        """Return all worlds, oldest first; an actor's own variables win over its runtime env's."""
        grouped: dict[tuple[str, ...], list[ProcessHandle]] = {}

        for row in sorted(filter(is_users, actors), key=began):
            place = {**row.runtime_env_vars, **places.get(row.actor_id, {})}
            rank = place.get(RANK, "")

            if rank.isdigit():
                meets_at = tuple(place.get(name, "") for name in shelf.MASTER)
                key = meets_at if any(meets_at) else (row.class_name,)
                grouped.setdefault(key, []).append(msgspec.structs.replace(row, rank=int(rank)))

        names: dict[str, int] = {}
        return [self._world(rows, names) for rows in grouped.values()]

    def _world(self, rows: Sequence[ProcessHandle], names: dict[str, int]) -> RunHandle:
        """Return one world; of two actors with one rank, the newer one is the rank."""
        by_rank = {row.rank: row for row in rows}
        workers = sorted(by_rank.values(), key=lambda row: row.rank or 0)
        class_name = workers[0].class_name
        number = names[class_name] = names.get(class_name, 0) + 1
        return RunHandle(
            generation=self.generation,
            controller=None,
            workers=tuple(workers),
            name=class_name if number == 1 else f"{class_name}-{number}",
        )


def is_users(row: ProcessHandle) -> bool:
    """Return whether an actor's class is not a part of Ray itself."""
    return not row.module.startswith(_RAYS_OWN)


def unknown_places(actors: Iterable[ProcessHandle], places: Places) -> list[ProcessHandle]:
    """Return the living actors of the user's whose variables may make them ranks."""
    return [
        row
        for row in actors
        if row.alive
        and row.pid
        and is_users(row)
        and row.actor_id not in places
        and RANK not in row.runtime_env_vars
    ]


def missing_note(run: RunHandle, size: int) -> str | None:
    """Return what to tell of ranks that no actor of the job is, None when all are there."""
    there = {row.rank for row in run.workers}
    missing = [rank for rank in range(size) if rank not in there]
    numbers = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
    return (
        f"{len(missing)} of {size} ranks are no actor of this job that has come so far: {numbers}."
        if missing
        else None
    )
