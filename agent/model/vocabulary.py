"""The words that fields of the records hold."""

from __future__ import annotations

from typing import Literal, get_args

Layer = Literal[
    "user", "ray", "ray_train", "deepspeed", "torch", "collective", "python", "library", "native"
]
Phase = Literal[
    "starting",
    "init_process_group",
    "deepspeed_init",
    "op_compile",
    "data",
    "forward",
    "backward",
    "grad_reduce",
    "zero_gather",
    "optimizer_step",
    "checkpoint",
    "report",
    "collective",
    "user",
    "finished",
    "unknown",
]
EnvSource = Literal[
    "runtime_env", "ray", "ray_train", "deepspeed", "launcher", "user_code", "inherited"
]
WorkerState = Literal["alive", "stopped", "pending", "restarting", "dead", "unknown"]
Role = Literal["driver", "controller", "worker", "child"]
Severity = Literal["info", "warning", "error"]
VerdictState = Literal["healthy", "starting", "degraded", "hung", "failed", "finished", "unknown"]
Cause = Literal[
    "rank_blocked_in_user_code",
    "data_stall",
    "collective_mismatch",
    "rank_divergence",
    "gil_held",
    "straggler",
    "rendezvous_wait",
    "network_unreachable",
    "op_compile_slow",
    "op_compile_lock",
    "checkpoint_stall",
    "report_barrier",
    "object_wait",
    "resources_pending",
    "restart_loop",
    "worker_dead",
    "worker_oom",
    "node_lost",
    "driver_blocked",
    "controller_blocked",
    "device_conflict",
    "env_drift",
    "config_drift",
    "nonfinite_loss",
    "overflow_skips",
    "memory_pressure",
    "object_spilling",
    "unknown",
]
StartName = Literal[
    "controller",
    "placement_group",
    "actor_scheduling",
    "process_start",
    "imports",
    "ranks_and_env",
    "rendezvous",
    "before_deepspeed",
    "deepspeed_init",
    "first_step",
]
CostName = Literal[
    "actor_scheduling",
    "process_start",
    "imports",
    "ranks_and_env",
    "rendezvous",
    "deepspeed_init",
    "op_compile",
    "object_store",
    "serialization",
    "report",
    "training",
]
StartUntil = Literal["first_step", "train_func", "now", "partly"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
PHASES: tuple[Phase, ...] = get_args(Phase)
SETUP_PHASES: tuple[Phase, ...] = (
    "starting",
    "init_process_group",
    "deepspeed_init",
    "op_compile",
)
"""What a rank goes through before it trains."""
CAUSES: tuple[Cause, ...] = get_args(Cause)
OK = "ok"
NodeKind = Literal[
    "driver",
    "controller",
    "rank",
    "process_group",
    "report",
    "rendezvous",
    "placement_group",
    "object_store",
    "lock",
    "child",
    "address",
    "debugger",
]
