"""Ray Train V2, the default from Ray 2.51."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.base import Part
from dsray_inspect.agent.launchers.ray.adapters import began, present_group
from dsray_inspect.agent.remote import controller as controller_read


class TrainV2:
    """A TrainController owns the workers."""

    generation = "v2"
    without_controller = (
        "The controller of this Ray Train answers no call during a run: the run's id, name and attempt"
        " are not known, and ranks come from RANK"
    )

    @property
    def controller_parts(self) -> Sequence[Part]:
        return (controller_read.read_controller,) if controller_answers() else ()

    def runs(self, actors: Sequence[ProcessHandle]) -> list[RunHandle]:
        controllers = [
            actor
            for actor in actors
            if actor.class_name == shelf.CONTROLLER_CLASS
            and actor.module.startswith(f"{shelf.V2_MODULE}.")
        ]
        workers = [
            actor
            for actor in actors
            if actor.class_name == shelf.WORKER_CLASS
            and actor.module.startswith(f"{shelf.V2_MODULE}.")
        ]
        return [
            self._run(controller, [row for row in workers if is_owned(row, controller)])
            for controller in sorted(controllers, key=began)
        ]

    def _run(self, controller: ProcessHandle, workers: Sequence[ProcessHandle]) -> RunHandle:
        return RunHandle(
            generation=self.generation,
            controller=controller,
            workers=present_group(workers),
            past_groups=max(0, len({row.placement_group_id for row in workers}) - 1),
        )


@functools.cache
def controller_answers() -> bool:
    """Return whether a controller answers calls while its run goes on, as Ray's source here says.

    The cluster has the same Ray: another one does not let us join. To import the class would take
    seconds.
    """
    spec = importlib.util.find_spec("ray")

    if spec is None or spec.origin is None:
        return True

    try:
        source = (Path(spec.origin).parents[1] / shelf.V2_CONTROLLER_FILE).read_text()
    except OSError:
        return True

    return shelf.ANSWERING_CONTROLLER in source


def is_owned(row: ProcessHandle, controller: ProcessHandle) -> bool:
    return row.owner_worker_id == controller.worker_id
