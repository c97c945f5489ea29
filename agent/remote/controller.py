"""What rung 1 runs in Ray Train's controller: one read of its state (stdlib only, sent by value).

Attribute names are those of `ray/train/v2/_internal/execution/controller/controller.py`
(Ray 2.60). Each is optional: what another Ray calls differently is left out, not guessed.
"""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.remote.threads import all_threads


def read_controller(
    controller: Any, _request: dict[str, Any], _seen: dict[str, Any]
) -> dict[str, Any]:
    """Return the run, its state and attempt, and what Ray Train knows of each worker."""
    context = getattr(controller, "_train_run_context", None)
    config = getattr(context, "run_config", None)
    state = getattr(getattr(controller, "_state", None), "_state_type", None)
    return {
        "run_id": getattr(context, "run_id", None),
        "run_name": getattr(config, "name", None),
        "state": getattr(state, "state_name", None),
        "attempt": getattr(controller, "_run_attempt_id", None),
        "workers": [describe(worker) for worker in workers_of(controller)],
        "threads": all_threads(),
    }


def workers_of(controller: Any) -> list[Any]:
    """Return the active worker group's workers; none while it is started or shut down."""
    group = getattr(controller, "_worker_group", None)

    if group is None or getattr(group, "_worker_group_state", None) is None:
        return []

    return list(group.get_workers())


def describe(worker: Any) -> dict[str, Any]:
    context = getattr(worker, "distributed_context", None)
    metadata = getattr(worker, "metadata", None)
    accelerators = getattr(metadata, "accelerator_ids", None) or {}
    return {
        "actor_id": worker.actor._actor_id.hex(),
        "rank": getattr(context, "world_rank", None),
        "local_rank": getattr(context, "local_rank", None),
        "node_rank": getattr(context, "node_rank", None),
        "world_size": getattr(context, "world_size", None),
        "hostname": getattr(metadata, "hostname", None),
        "gpu_ids": [str(one) for one in accelerators.get("GPU") or ()],
    }
