"""Ray Train V2, the default from Ray 2.51."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.launchers.ray.adapters import Part, RunActors, present_group
from dsray_inspect.agent.launchers.ray.records import ActorRow
from dsray_inspect.agent.remote import controller as controller_read


class TrainV2:
    """A TrainController owns the workers."""

    generation = "v2"
    controller_parts: Sequence[Part] = (controller_read.read_controller,)
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
