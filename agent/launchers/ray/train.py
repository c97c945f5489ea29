"""Ray Train's generations and plain actors, one adapter module each.

The generations are told apart by the module an actor's class comes from, never by Ray's version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.ray.adapters import Adapter
from dsray_inspect.agent.launchers.ray.plain_actors import PlainActors
from dsray_inspect.agent.launchers.ray.train_v1 import TrainV1
from dsray_inspect.agent.launchers.ray.train_v2 import TrainV2

PLAIN: Final = PlainActors()
_TRAIN: Final[tuple[Adapter, ...]] = (TrainV2(), TrainV1())


def adapter_of(generation: str) -> Adapter:
    return next(adapter for adapter in (*_TRAIN, PLAIN) if adapter.generation == generation)


def find_runs(actors: Sequence[ProcessHandle]) -> list[RunHandle]:
    """Return all Ray Train runs among the actors of one job."""
    return [run for adapter in _TRAIN for run in adapter.runs(actors)]
