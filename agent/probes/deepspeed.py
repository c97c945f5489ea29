"""Where DeepSpeed spends a step: the functions that are probed (stdlib only).

Names are those of DeepSpeed 0.19; each is looked for, and said to be missing where it is not.
Subclasses with a function of their own are probed as well: a call of `super()` in there is seen
twice, one in the other, and the session takes them for one.
"""

from __future__ import annotations

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.targets import Target

ENGINE = "deepspeed.runtime.engine"
PIPELINE = "deepspeed.runtime.pipe.engine"
ZERO_1_2 = "deepspeed.runtime.zero.stage_1_and_2"
ZERO_3 = "deepspeed.runtime.zero.stage3"
COORDINATOR = "deepspeed.runtime.zero.partitioned_param_coordinator"


IN_BACKWARD = "_running_engine_backward"
"""The engine sets it in its `backward`; prologue and epilogue tell of `loss.backward()` only."""


def of_engine(
    name: str,
    code: int,
    *,
    advances: bool = False,
    on_device: bool = False,
    part_of: str | None = None,
) -> Target:
    return Target(
        ENGINE,
        "DeepSpeedEngine",
        name,
        code,
        of_engine=True,
        advances=advances,
        on_device=on_device,
        subclasses=True,
        part_of=part_of,
    )


def of_pipeline(name: str, code: int, *, advances: bool = False, inherited: bool = False) -> Target:
    return Target(
        PIPELINE,
        "PipelineEngine",
        name,
        code,
        of_engine=True,
        advances=advances,
        subclasses=True,
        inherited=inherited,
    )


TARGETS = (
    of_engine("forward", wire.FORWARD, on_device=True),
    of_engine("backward", wire.BACKWARD, on_device=True),
    of_engine("_backward_prologue", wire.BACKWARD_PROLOGUE, part_of=IN_BACKWARD),
    of_engine("_backward_epilogue", wire.BACKWARD_EPILOGUE, part_of=IN_BACKWARD),
    of_engine("allreduce_gradients", wire.GRAD_REDUCE),
    of_engine("step", wire.STEP, advances=True, on_device=True),
    of_engine("save_checkpoint", wire.SAVE_CHECKPOINT),
    of_engine("load_checkpoint", wire.LOAD_CHECKPOINT),
    of_pipeline("train_batch", wire.TRAIN_BATCH, advances=True),
    of_pipeline("eval_batch", wire.EVAL_BATCH),
    # Its `train_batch` steps by this alone; any other engine's `step` is around it.
    of_pipeline("_take_model_step", wire.STEP, advances=True, inherited=True),
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
