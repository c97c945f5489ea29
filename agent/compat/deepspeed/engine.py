"""Attributes of a live engine, and methods of DeepSpeed that are timed in a rank."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.deepspeed.files import ENGINE_CLASS, ENGINE_MODULE
from dsray_inspect.agent.compat.rows import Convention, Method, Methods, Names

ENGINE_READS: Annotated[
    tuple[str, ...],
    Names("An engine's description.", files=("deepspeed/runtime/engine.py",)),
] = (
    "_config",
    "zero_optimization_stage",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "train_batch_size",
    "get_data_types",
    "basic_optimizer",
    "optimizer",
    "module",
    "global_steps",
    "skipped_steps",
    "_global_grad_norm",
)
OVERFLOW: Annotated[
    str,
    Names(
        "Whether the optimizer's newest step overflowed; a bool of the host.",
        files=(
            "deepspeed/runtime/zero/stage_1_and_2.py",
            "deepspeed/runtime/zero/stage3.py",
            "deepspeed/runtime/fp16/fused_optimizer.py",
        ),
    ),
] = "overflow"
LOSS_SCALER: Annotated[
    str,
    Names(
        "What scales the loss.",
        files=("deepspeed/runtime/base_optimizer.py", "deepspeed/runtime/fp16/fused_optimizer.py"),
    ),
] = "loss_scaler"
LOSS_SCALE: Annotated[
    str, Names("The scale of the loss.", files=("deepspeed/runtime/fp16/loss_scaler.py",))
] = "cur_scale"
FULL_SIZE: Annotated[
    str,
    Names(
        "A parameter's size before ZeRO-3 partitioned it.",
        files=("deepspeed/runtime/zero/partition_parameters.py",),
    ),
] = "ds_numel"
CONFIG_READS: Annotated[
    tuple[str, ...],
    Names("Settings as DeepSpeed resolved them.", files=("deepspeed/runtime/config.py",)),
] = (
    "zero_config",
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "world_size",
)
OFFLOADS: Annotated[
    tuple[tuple[str, str], ...],
    Convention("What is offloaded, and the setting of `zero_config` that says where to."),
] = (("optimizer", "offload_optimizer"), ("parameters", "offload_param"))
OFFLOAD_SETTINGS: Annotated[
    tuple[str, ...],
    Names("These settings.", files=("deepspeed/runtime/zero/config.py",)),
] = ("offload_optimizer", "offload_param")
OVERFLOWED_NORM: Annotated[
    float, Convention("What DeepSpeed makes of a gradient norm that is not finite.")
] = -1.0

# Methods that are timed in a rank

_PIPELINE = "deepspeed.runtime.pipe.engine"
_ZERO_3_MODULE = "deepspeed.runtime.zero.stage3"
_COORDINATOR = "deepspeed.runtime.zero.partitioned_param_coordinator"

FORWARD: Annotated[Method, Methods("Phase `forward`.")] = (ENGINE_MODULE, ENGINE_CLASS, "forward")
ENGINE_BACKWARD: Annotated[Method, Methods("Phase `backward`.")] = (
    ENGINE_MODULE,
    ENGINE_CLASS,
    "backward",
)
BACKWARD_PROLOGUE: Annotated[Method, Methods("Before `loss.backward()`.", since="0.16.9")] = (
    ENGINE_MODULE,
    ENGINE_CLASS,
    "_backward_prologue",
)
BACKWARD_EPILOGUE: Annotated[Method, Methods("After `loss.backward()`.", since="0.16.9")] = (
    ENGINE_MODULE,
    ENGINE_CLASS,
    "_backward_epilogue",
)
IN_BACKWARD: Annotated[
    str,
    Names(
        "The engine sets it in its `backward`; prologue and epilogue tell of `loss.backward()` only.",
        since="0.18.9",
        files=("deepspeed/runtime/engine.py",),
    ),
] = "_running_engine_backward"
ALLREDUCE_GRADIENTS: Annotated[Method, Methods("Phase `grad_reduce`.")] = (
    ENGINE_MODULE,
    ENGINE_CLASS,
    "allreduce_gradients",
)
STEP: Annotated[Method, Methods("Phase `optimizer_step`.")] = (ENGINE_MODULE, ENGINE_CLASS, "step")
SAVE_CHECKPOINT: Annotated[Method, Methods("Phase `checkpoint`.")] = (
    ENGINE_MODULE,
    ENGINE_CLASS,
    "save_checkpoint",
)
LOAD_CHECKPOINT: Annotated[Method, Methods("Phase `checkpoint`.")] = (
    ENGINE_MODULE,
    ENGINE_CLASS,
    "load_checkpoint",
)
TRAIN_BATCH: Annotated[Method, Methods("A step of a pipeline.")] = (
    _PIPELINE,
    "PipelineEngine",
    "train_batch",
)
EVAL_BATCH: Annotated[Method, Methods("An evaluation of a pipeline.")] = (
    _PIPELINE,
    "PipelineEngine",
    "eval_batch",
)
TAKE_STEP: Annotated[Method, Methods("The only step of a pipeline; inherited there.")] = (
    ENGINE_MODULE,
    ENGINE_CLASS,
    "_take_model_step",
)
PIPELINE_CLASS: Annotated[
    tuple[str, str], Convention("The class that inherits `TAKE_STEP`: its module and name.")
] = (_PIPELINE, "PipelineEngine")
AVERAGE_TENSOR: Annotated[Method, Methods("Phase `grad_reduce` of ZeRO 1 and 2.")] = (
    "deepspeed.runtime.zero.stage_1_and_2",
    "DeepSpeedZeroOptimizer",
    "average_tensor",
)
REDUCE_AND_PARTITION: Annotated[Method, Methods("Phase `grad_reduce` of ZeRO 3.")] = (
    _ZERO_3_MODULE,
    "DeepSpeedZeroOptimizer_Stage3",
    "_DeepSpeedZeroOptimizer_Stage3__reduce_and_partition_ipg_grads",
)
PARTITION_GRADS: Annotated[Method, Methods("ZeRO 3 partitions gradients.")] = (
    _ZERO_3_MODULE,
    "DeepSpeedZeroOptimizer_Stage3",
    "partition_grads",
)
FETCH_PARAMETERS: Annotated[Method, Methods("Phase `zero_gather`.")] = (
    _COORDINATOR,
    "PartitionedParameterCoordinator",
    "fetch_sub_module",
)
RELEASE_PARAMETERS: Annotated[Method, Methods("ZeRO 3 lets parameters go.")] = (
    _COORDINATOR,
    "PartitionedParameterCoordinator",
    "release_sub_module",
)
