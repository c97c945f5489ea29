"""Attributes that are read in Ray Train's controller, and in a rank."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.ray.files import V2_CONTROLLER_FILE, V2_GROUP_FILE, V2_WORKER_FILE
from dsray_inspect.agent.compat.rows import AttributePaths, Modules, Names, Texts

CONTROLLER_PATHS: Annotated[
    dict[str, str],
    AttributePaths(
        "The run, its state and its attempt, by what they are called in our answer.",
        since="2.49",
        files=(
            V2_CONTROLLER_FILE,
            "ray/train/v2/_internal/execution/context.py",
            "ray/train/v2/_internal/execution/controller/state.py",
            "ray/train/v2/api/config.py",
            "ray/train/v2/_internal/execution/failure_handling/default.py",
            "ray/train/v2/_internal/execution/failure_handling/failure_policy.py",
        ),
    ),
] = {
    "run_id": "_train_run_context.run_id",
    "run_name": "_train_run_context.run_config.name",
    "state": "_state._state_type.state_name",
    "attempt": "_run_attempt_id",
    "failures": "_failure_policy._worker_group_failures",
    "max_failures": "_failure_policy.failure_config.max_failures",
}
WORKER_GROUP_PATHS: Annotated[
    dict[str, str],
    AttributePaths(
        "The present worker group; without a state it is being started or shut down.",
        since="2.43",
        files=(V2_CONTROLLER_FILE, V2_GROUP_FILE),
    ),
] = {"group": "_worker_group", "state": "_worker_group._worker_group_state"}
GET_WORKERS: Annotated[
    str, Names("Returns the workers of a group.", since="2.41", files=(V2_GROUP_FILE,))
] = "get_workers"
WORKER_PATHS: Annotated[
    dict[str, str],
    AttributePaths(
        "A worker's place, by what it is called in our answer.",
        since="2.41",
        files=(V2_WORKER_FILE, "ray/train/v2/_internal/execution/context.py"),
    ),
] = {
    "rank": "distributed_context.world_rank",
    "local_rank": "distributed_context.local_rank",
    "node_rank": "distributed_context.node_rank",
    "world_size": "distributed_context.world_size",
    "hostname": "metadata.hostname",
}
WORKER_ACTOR: Annotated[
    str,
    AttributePaths("A worker's actor id.", since="2.41", files=(V2_WORKER_FILE, "ray/actor.py")),
] = "actor._actor_id"
WORKER_ACCELERATORS: Annotated[
    str, AttributePaths("A worker's accelerators, by kind.", since="2.41", files=(V2_WORKER_FILE,))
] = "metadata.accelerator_ids"
CONTEXT_MODULE: Annotated[str, Modules("A rank's own context.", since="2.41")] = (
    "ray.train.v2._internal.execution.context"
)
CONTEXT_ATTRIBUTES: Annotated[
    tuple[str, ...],
    Names(
        "The callbacks of a rank's context.",
        since="2.41",
        files=("ray/train/v2/_internal/execution/context.py",),
    ),
] = ("_train_context", "execution_context", "train_context_callbacks")
METRICS_ATTRIBUTES: Annotated[
    tuple[str, ...],
    Names(
        "The sums that a callback keeps.",
        since="2.47",
        files=(
            "ray/train/v2/_internal/callbacks/metrics.py",
            "ray/train/v2/_internal/metrics/base.py",
        ),
    ),
] = ("_metrics", "_current_value")
_WORKER_METRICS = "ray/train/v2/_internal/metrics/worker.py"
REPORT_SECONDS: Annotated[
    str, Texts("Seconds in `ray.train.report`.", since="2.47", files=(_WORKER_METRICS,))
] = "train_report_total_blocked_time_s"
CHECKPOINT_SYNC_SECONDS: Annotated[
    str, Texts("The part of it that is a barrier.", since="2.60", files=(_WORKER_METRICS,))
] = "train_checkpoint_sync_total_time_s"
CHECKPOINT_TRANSFER_SECONDS: Annotated[
    str, Texts("The part of it that is an upload.", since="2.60", files=(_WORKER_METRICS,))
] = "train_checkpoint_transfer_total_time_s"
