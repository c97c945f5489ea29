"""Where DeepSpeed spends a step: the functions that are probed (stdlib only).

Names are those of DeepSpeed 0.19; each is looked for, and said to be missing where it is not.
Subclasses with a function of their own are probed as well: a call of `super()` in there is seen
twice, one in the other, and the session takes them for one.
"""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.targets import Target

ENGINE = "deepspeed.runtime.engine"
PIPELINE = "deepspeed.runtime.pipe.engine"
ZERO_1_2 = "deepspeed.runtime.zero.stage_1_and_2"
ZERO_3 = "deepspeed.runtime.zero.stage3"
COORDINATOR = "deepspeed.runtime.zero.partitioned_param_coordinator"


def counts(engine: Any) -> tuple[int, int]:
    """Return the engine's global step and micro step, -1 where it does not count."""
    try:
        return engine.global_steps, engine.micro_steps
    except Exception:
        return -1, -1


def engine_target(name: str, code: int, *, on_device: bool = False) -> Target:
    return Target(
        ENGINE,
        "DeepSpeedEngine",
        name,
        code,
        counts=counts,
        on_device=on_device,
        subclasses=True,
    )


def pipeline_target(name: str, code: int) -> Target:
    return Target(PIPELINE, "PipelineEngine", name, code, counts=counts, subclasses=True)


TARGETS = (
    engine_target("forward", wire.FORWARD, on_device=True),
    engine_target("backward", wire.BACKWARD, on_device=True),
    engine_target("_backward_prologue", wire.BACKWARD_PROLOGUE),
    engine_target("_backward_epilogue", wire.BACKWARD_EPILOGUE),
    engine_target("allreduce_gradients", wire.GRAD_REDUCE),
    engine_target("step", wire.STEP, on_device=True),
    engine_target("_take_model_step", wire.STEP),
    engine_target("save_checkpoint", wire.SAVE_CHECKPOINT),
    engine_target("load_checkpoint", wire.LOAD_CHECKPOINT),
    pipeline_target("train_batch", wire.TRAIN_BATCH),
    pipeline_target("eval_batch", wire.EVAL_BATCH),
    Target(ZERO_1_2, "DeepSpeedZeroOptimizer", "average_tensor", wire.GRAD_REDUCE),
    Target(
        ZERO_3,
        "DeepSpeedZeroOptimizer_Stage3",
        "_DeepSpeedZeroOptimizer_Stage3__reduce_and_partition_ipg_grads",
        wire.GRAD_REDUCE,
    ),
    Target(ZERO_3, "DeepSpeedZeroOptimizer_Stage3", "partition_grads", wire.ZERO_PARTITION),
    Target(COORDINATOR, "PartitionedParameterCoordinator", "fetch_sub_module", wire.ZERO_GATHER),
    Target(
        COORDINATOR, "PartitionedParameterCoordinator", "release_sub_module", wire.ZERO_PARTITION
    ),
)
