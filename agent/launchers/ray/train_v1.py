"""Ray Train V1 (`RAY_TRAIN_V2_ENABLED=0`)."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.base import Part
from dsray_inspect.agent.launchers.ray.adapters import began, present_group


class TrainV1:
    """The workers belong to a Tune trial."""

    generation = "v1"
    controller_parts: Sequence[Part] = ()
    without_controller = "Ray Train V1 has no controller actor; ranks come from RANK"

    def runs(self, actors: Sequence[ProcessHandle]) -> list[RunHandle]:
        by_owner: dict[str, list[ProcessHandle]] = {}

        for actor in actors:
            if actor.class_name == shelf.WORKER_CLASS and actor.module.startswith(
                f"{shelf.V1_MODULE}."
            ):
                by_owner.setdefault(actor.owner_worker_id, []).append(actor)

        runs = [
            RunHandle(generation=self.generation, controller=None, workers=present_group(workers))
            for workers in by_owner.values()
        ]
        return sorted(runs, key=lambda run: min(map(began, run.workers)))
