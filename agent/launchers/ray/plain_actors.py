"""Worlds of torch.distributed whose ranks are actors of the user's own, as OpenRLHF starts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.compat import launchers as shelf
from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.base import Part
from dsray_inspect.agent.launchers.rank_place import Place, place_of
from dsray_inspect.agent.launchers.ray.adapters import began

PLACE_VARIABLES: Final = (*shelf.RANK_VARIABLES[0], *shelf.MASTER)
_TORCHS_OWN: Final = shelf.RANK_VARIABLES[:1]
_RAYS_OWN: Final = "ray."
_MOST_SHOWN: Final = 8

Places = Mapping[str, Mapping[str, str]]
"""By actor id, what `PLACE_VARIABLES` are in its process, as far as they were read there."""
_NONE_READ: Final[Places] = {}


class PlainActors:
    """Nobody owns the ranks but the driver, or an actor of the user's."""

    generation = "actors"
    controller_parts: Sequence[Part] = ()
    without_controller = "ranks in plain actors have no controller"

    def runs(self, actors: Sequence[ProcessHandle], places: Places = _NONE_READ) -> list[RunHandle]:
        """Return all worlds, oldest first, by Ray's own table and by what was read."""
        grouped: dict[tuple[str, ...], list[ProcessHandle]] = {}

        for row in sorted(filter(_is_users, actors), key=began):
            place = _place_of(row, places)

            if place is not None:
                variables = _variables_of(row, places)
                meets_at = tuple(variables.get(name, "") for name in shelf.MASTER)
                key = meets_at if any(meets_at) else (row.class_name,)
                grouped.setdefault(key, []).append(msgspec.structs.replace(row, rank=place.rank))

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


def _variables_of(row: ProcessHandle, places: Places) -> dict[str, str]:
    """Return what may tell an actor's place: its own variables win over its runtime env's."""
    return {**row.runtime_env_vars, **places.get(row.actor_id, {})}


def _place_of(row: ProcessHandle, places: Places) -> Place | None:
    return place_of(_variables_of(row, places), _TORCHS_OWN)


def _is_users(row: ProcessHandle) -> bool:
    """Return whether an actor's class is not a part of Ray itself."""
    return not row.module.startswith(_RAYS_OWN)


def unknown_places(actors: Iterable[ProcessHandle], places: Places) -> list[ProcessHandle]:
    """Return the living actors of the user's whose variables may make them ranks."""
    return [
        row
        for row in actors
        if row.alive and row.pid and _is_users(row) and _place_of(row, places) is None
    ]


def missing_ranks(run: RunHandle, places: Places) -> list[int]:
    """Return the ranks of a world that no actor is, by the size that its ranks were told."""
    told = [place.world_size for row in run.workers if (place := _place_of(row, places))]
    there = {row.rank for row in run.workers}
    return [rank for rank in range(max(filter(None, told), default=0)) if rank not in there]


def missing_note(missing: Sequence[int], there: int) -> str:
    """Return what to tell of ranks that no actor of the job is."""
    numbers = ", ".join(map(str, missing[:_MOST_SHOWN]))
    more = ", …" if len(missing) > _MOST_SHOWN else ""
    return (
        f"{len(missing)} of {len(missing) + there} ranks are no actor of this job that has come so "
        f"far: {numbers}{more}."
    )
