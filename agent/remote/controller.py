"""What is run in Ray Train's controller: one read of its state (stdlib only, sent by value).

Each attribute is optional: what another Ray calls differently is left out, not guessed.
"""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.compat.ray import (
    CONTROLLER_PATHS,
    GET_WORKERS,
    WORKER_ACCELERATORS,
    WORKER_ACTOR,
    WORKER_GROUP_PATHS,
    WORKER_PATHS,
)
from dsray_inspect.agent.remote.threads import all_threads


def read_controller(
    controller: Any, _request: dict[str, Any], _seen: dict[str, Any]
) -> dict[str, Any]:
    """Return the run, its state and attempt, and what Ray Train knows of each worker."""
    return {
        **{name: _follow(controller, path) for name, path in CONTROLLER_PATHS.items()},
        "workers": [_describe(worker) for worker in _workers_of(controller)],
        "threads": all_threads(),
    }


def _follow(start: Any, path: str) -> Any:
    """Return what a dotted path of attributes leads to, None where one of them is missing."""
    for name in path.split("."):
        start = getattr(start, name, None)

    return start


def _workers_of(controller: Any) -> list[Any]:
    """Return the active worker group's workers; none while it is started or shut down."""
    if _follow(controller, WORKER_GROUP_PATHS["state"]) is None:
        return []

    return list(getattr(_follow(controller, WORKER_GROUP_PATHS["group"]), GET_WORKERS)())


def _describe(worker: Any) -> dict[str, Any]:
    accelerators = _follow(worker, WORKER_ACCELERATORS) or {}
    return {
        **{name: _follow(worker, path) for name, path in WORKER_PATHS.items()},
        "actor_id": _follow(worker, WORKER_ACTOR).hex(),
        "gpu_ids": [str(gpu_id) for gpu_id in accelerators.get("GPU") or ()],
    }
