"""Ray Train's generations: which actors are a run, and what can be asked of them.

One adapter a generation, behind one Protocol. Generations are told apart by the module an
actor's class comes from, never by Ray's version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from dsray_inspect.agent.cluster.records import ActorRow
from dsray_inspect.agent.onsite import controller as controller_read

Part = Callable[[Any, dict[str, Any], dict[str, Any]], dict[str, Any]]
"""What runs inside an actor: `part(actor, request, seen)`; see `onsite.run`."""


class RunActors(msgspec.Struct, frozen=True, kw_only=True):
    """The actors of one run: its controller if it has one, and its present worker group."""

    generation: str
    controller: ActorRow | None
    workers: tuple[ActorRow, ...]

    @property
    def alive(self) -> bool:
        return any(row.alive for row in (self.controller, *self.workers) if row is not None)

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


class TrainV2:
    """Ray Train V2, the default from Ray 2.51: a TrainController owns the workers."""

    generation = "v2"
    controller_parts: Sequence[Part] = (controller_read.look,)
    without_controller = ""

    def runs(self, actors: Sequence[ActorRow]) -> list[RunActors]:
        controllers = [
            actor
            for actor in actors
            if actor.class_name == "TrainController" and actor.module.startswith("ray.train.v2.")
        ]
        workers = [
            actor
            for actor in actors
            if actor.class_name == "RayTrainWorker" and actor.module.startswith("ray.train.v2.")
        ]
        return [
            RunActors(
                generation=self.generation,
                controller=controller,
                workers=present_group(
                    row for row in workers if row.owner_worker_id == controller.worker_id
                ),
            )
            for controller in sorted(controllers, key=lambda row: row.started_at)
        ]


class TrainV1:
    """Ray Train V1 (`RAY_TRAIN_V2_ENABLED=0`): the workers belong to a Tune trial."""

    generation = "v1"
    controller_parts: Sequence[Part] = ()
    without_controller = (
        "Ray Train V1 has no controller actor; rungs 0 and 3 answer, ranks come from RANK"
    )

    def runs(self, actors: Sequence[ActorRow]) -> list[RunActors]:
        by_owner: dict[str, list[ActorRow]] = {}

        for actor in actors:
            if actor.class_name == "RayTrainWorker" and actor.module.startswith(
                "ray.train._internal."
            ):
                by_owner.setdefault(actor.owner_worker_id, []).append(actor)

        return [
            RunActors(generation=self.generation, controller=None, workers=present_group(workers))
            for workers in by_owner.values()
        ]


ADAPTERS: tuple[Adapter, ...] = (TrainV2(), TrainV1())


def adapter_of(generation: str) -> Adapter:
    return next(adapter for adapter in ADAPTERS if adapter.generation == generation)


def find_runs(actors: Sequence[ActorRow]) -> list[RunActors]:
    """Return all Ray Train runs among the actors of one job."""
    return [run for adapter in ADAPTERS for run in adapter.runs(actors)]


def present_group(workers: Iterable[ActorRow]) -> tuple[ActorRow, ...]:
    """Return the workers of the latest attempt: those of the newest placement group.

    Each attempt has a placement group of its own. A member that died stays in the list, so
    that its rank is not silently missing.
    """
    rows = sorted(workers, key=lambda row: (row.started_at, row.actor_id))

    if not rows:
        return ()

    living = [row for row in rows if row.alive] or rows
    newest = max(living, key=lambda row: row.started_at).placement_group_id
    return tuple(row for row in rows if row.placement_group_id == newest)
