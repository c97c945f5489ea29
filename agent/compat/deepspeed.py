"""DeepSpeed: what dsray-inspect knows of its internals."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.rows import (
    Convention,
    FileFunctions,
    FilePatterns,
    Files,
    FrameRule,
    FrameRules,
    Function,
    Functions,
    Method,
    Methods,
    Modules,
    Names,
    Texts,
)

VERIFIED = ("0.19.8", "0.17.6", "0.16.9")
"""The versions on which every row without a `verified` of its own was used on two real ranks."""

# Layers

CHECKOUT: Annotated[
    tuple[str, ...],
    FilePatterns("Tells a source checkout of DeepSpeed by files that only it has."),
] = (
    r"deepspeed/(?:runtime|comm|ops|moe|module_inject|pipe|checkpoint|inference|compile|linear)/.*",
    r"deepspeed/utils/(?:nvtx|groups|timer|logging|comms_logging|tensor_fragment|z3_leaf_module)\.py",
    r"deepspeed/__init__\.py",
)

# Modules and files

ENGINE_MODULE: Annotated[str, Modules("Who has imported it may have an engine.")] = (
    "deepspeed.runtime.engine"
)
ENGINE_CLASS: Annotated[
    str,
    Names("The class of every engine, its subclasses too.", files=("deepspeed/runtime/engine.py",)),
] = "DeepSpeedEngine"
ENGINE_FILES: Annotated[tuple[str, ...], Files("`self` of a method in these is an engine.")] = (
    "deepspeed/runtime/engine.py",
    "deepspeed/runtime/pipe/engine.py",
)
INITIALIZE: Annotated[Function, Functions("While it runs there is no engine yet.")] = (
    "initialize",
    "deepspeed/__init__.py",
)
BACKWARD: Annotated[Function, Functions("Its `loss` is the loss of the step.")] = (
    "backward",
    "deepspeed/runtime/engine.py",
)
LOSS_ARGUMENT: Annotated[
    str, Names("The argument of `backward`.", files=("deepspeed/runtime/engine.py",))
] = "loss"
WAIT_WRAPPER_FILE: Annotated[str, Files("DeepSpeed calls a handle's `wait` through it.")] = (
    "deepspeed/utils/nvtx.py"
)
PIPE_P2P_FILE: Annotated[str, Files("Sends and receives of a pipeline's stages.")] = (
    "deepspeed/runtime/pipe/p2p.py"
)
BUILDER_MODULE: Annotated[str, Modules("It knows which ops are loaded.")] = (
    "deepspeed.ops.op_builder.builder"
)
LOADED_OPS: Annotated[
    Function,
    Names("The ops that are loaded, by name.", files=("deepspeed/ops/op_builder/builder.py",)),
] = ("OpBuilder", "_loaded_ops")

# Frames

_ZERO_3 = (
    r"deepspeed/runtime/zero/(?:partition_parameters|partitioned_param_coordinator|mics"
    r"|parameter_offload|stage3)\.py"
)
_NOT_A_REDUCTION = r"(?!_model_parallel|zero_reduced|_clear|create_)"
FRAME_RULES: Annotated[
    tuple[FrameRule, ...], FrameRules("The phase of a rank, by its frames; the first rule counts.")
] = (
    # Kernels compiled on first use; a source checkout has op_builder beside deepspeed.
    FrameRule("op_compile", r"(?:.*/)?op_builder/builder\.py", "load jit_load"),
    FrameRule("op_compile", r"deepspeed/comm/torch\.py", "build_shm_op"),
    FrameRule("init_process_group", r"deepspeed/comm/torch\.py", "init_process_group"),
    # DeepSpeed's start-up, its import included.
    FrameRule("deepspeed_init", r"deepspeed/__init__\.py", "initialize init_inference <module>"),
    FrameRule("deepspeed_init", r"deepspeed/__init__\.py", "tp_model_init", since="0.16.9"),
    FrameRule("deepspeed_init", r"deepspeed/comm/comm\.py", "init_distributed"),
    FrameRule(
        "deepspeed_init",
        r"deepspeed/runtime/engine\.py deepspeed/runtime/hybrid_engine\.py"
        r" deepspeed/runtime/pipe/engine\.py",
        "__init__",
    ),
    FrameRule(
        "deepspeed_init",
        r"deepspeed/runtime/zero/partition_parameters\.py",
        r"wrapper _post_init_method _zero_init_param _convert_to_\w+",
    ),
    FrameRule("data", r"deepspeed/runtime/dataloader\.py deepspeed/runtime/data_pipeline/.*"),
    FrameRule("data", r"deepspeed/runtime/pipe/engine\.py", "_exec_load_micro_batch _next_batch"),
    FrameRule(
        "checkpoint",
        r"deepspeed/runtime/(?:pipe/|hybrid_)?engine\.py",
        r"_?(?:save|load|create|commit)_\w*checkpoint\w* save_16bit_model save_fp16_model",
    ),
    FrameRule("checkpoint", r"deepspeed/runtime/checkpoint_engine/.* deepspeed/checkpoint/.*"),
    # ZeRO's own communication.
    FrameRule("zero_gather", _ZERO_3, r"\w*all_?gather\w* _?fetch_sub_module\w*"),
    FrameRule(
        "zero_gather",
        r"deepspeed/runtime/zero/partition_parameters\.py",
        "wait _ensure_availability_of_partitioned_params",
    ),
    FrameRule(
        "deepspeed_init", r"deepspeed/runtime/zero/mics\.py", r"_convert_to_\w+", until="0.18"
    ),
    FrameRule("zero_gather", r"deepspeed/runtime/zero/mics\.py", "wait", until="0.18"),
    # At the start of a forward the ranks of ZeRO-3 compare what they are about to gather.
    FrameRule(
        "zero_gather", r"deepspeed/runtime/zero/utils\.py", r"assert_\w+_same_as_other_ranks"
    ),
    FrameRule(
        "grad_reduce",
        r"deepspeed/runtime/zero/\w+\.py",
        rf"{_NOT_A_REDUCTION}\w*(?:reduce_|_reduce|avg_scatter)\w* average_tensor\w*"
        r" partition_grads independent_gradient_partition_epilogue\w* gradient_reduction\w*",
    ),
    FrameRule(
        "grad_reduce", r"deepspeed/runtime/zero/\w+\.py", r"process_gradients\w*", since="0.16.9"
    ),
    FrameRule(
        "grad_reduce",
        r"deepspeed/runtime/superoffload/\w+\.py",
        r"partition_grads independent_gradient_partition_epilogue\w*",
        since="0.18.9",
    ),
    FrameRule(
        "grad_reduce",
        r"deepspeed/runtime/zenflow/\w+\.py",
        r"partition_grads average_tensor\w*",
        since="0.18",
    ),
    FrameRule(
        "grad_reduce",
        r"deepspeed/runtime/engine\.py",
        r"\w*allreduce_\w+ _reduce_\w+",
    ),
    FrameRule(
        "grad_reduce",
        r"deepspeed/runtime/engine\.py",
        r"_flush_coalesced_reduction\w*",
        since="0.19",
    ),
    FrameRule(
        "grad_reduce",
        r"deepspeed/runtime/pipe/engine\.py",
        "_exec_reduce_grads _exec_reduce_tied_grads _bf16_reduce_grads",
    ),
    # The three parts of a step.
    FrameRule(
        "forward",
        r"deepspeed/runtime/(?:hybrid_)?engine\.py",
        "forward generate",
    ),
    FrameRule(
        "forward",
        r"deepspeed/runtime/engine\.py",
        "_forward_prologue _forward_epilogue",
        since="0.16.9",
    ),
    FrameRule("backward", r"deepspeed/runtime/engine\.py", "backward"),
    FrameRule("backward", r"deepspeed/runtime/engine\.py", r"_backward_\w+", since="0.16.9"),
    FrameRule("optimizer_step", r"deepspeed/runtime/engine\.py", "step _take_model_step"),
    FrameRule("forward", r"deepspeed/runtime/pipe/engine\.py", "_exec_forward_pass"),
    FrameRule("backward", r"deepspeed/runtime/pipe/engine\.py", "_exec_backward_pass"),
    FrameRule("optimizer_step", r"deepspeed/runtime/pipe/engine\.py", "_exec_optimizer_step"),
    FrameRule("pipeline", r"deepspeed/runtime/pipe/engine\.py", "train_batch eval_batch"),
    FrameRule(
        "optimizer_step",
        r"deepspeed/runtime/zero/stage\w+\.py deepspeed/runtime/bf16_optimizer\.py"
        r" deepspeed/runtime/fp16/\w+\.py deepspeed/runtime/base_optimizer\.py"
        r" deepspeed/ops/(?:adam|lion|lamb|adagrad)/.*",
        "step step_fused_adam step_fused_lamb",
    ),
    # Waiting for the other ranks outside all of the above.
    FrameRule(
        "collective",
        r"deepspeed/comm/(?:comm|torch|ccl)\.py",
        r"(?:inference_)?all_reduce\w* broadcast\w* all_gather\w* reduce\w* gather\w* scatter\w*"
        r" all_to_all\w* barrier\w* monitored_barrier\w* send\w* recv\w* isend\w* irecv\w*",
    ),
)
PLUMBING: Annotated[
    tuple[FileFunctions, ...], Functions("Frames of every stack that tell nothing.")
] = (
    FileFunctions(WAIT_WRAPPER_FILE),
    FileFunctions("deepspeed/comm/comm.py", "log_wrapper"),
    FileFunctions("deepspeed/comm/torch.py", "wrapper", since="0.19"),
)

# Attributes of a live engine; only attributes are read, and methods that return a setting

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

_ENGINE = "deepspeed.runtime.engine"
_PIPELINE = "deepspeed.runtime.pipe.engine"
_ZERO_3_MODULE = "deepspeed.runtime.zero.stage3"
_COORDINATOR = "deepspeed.runtime.zero.partitioned_param_coordinator"

FORWARD: Annotated[Method, Methods("Phase `forward`.")] = (_ENGINE, ENGINE_CLASS, "forward")
ENGINE_BACKWARD: Annotated[Method, Methods("Phase `backward`.")] = (
    _ENGINE,
    ENGINE_CLASS,
    "backward",
)
BACKWARD_PROLOGUE: Annotated[Method, Methods("Before `loss.backward()`.", since="0.16.9")] = (
    _ENGINE,
    ENGINE_CLASS,
    "_backward_prologue",
)
BACKWARD_EPILOGUE: Annotated[Method, Methods("After `loss.backward()`.", since="0.16.9")] = (
    _ENGINE,
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
    _ENGINE,
    ENGINE_CLASS,
    "allreduce_gradients",
)
STEP: Annotated[Method, Methods("Phase `optimizer_step`.")] = (_ENGINE, ENGINE_CLASS, "step")
SAVE_CHECKPOINT: Annotated[Method, Methods("Phase `checkpoint`.")] = (
    _ENGINE,
    ENGINE_CLASS,
    "save_checkpoint",
)
LOAD_CHECKPOINT: Annotated[Method, Methods("Phase `checkpoint`.")] = (
    _ENGINE,
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
    _ENGINE,
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

# The recorded start: what `probes.startup` times

START_FUNCTIONS: Annotated[
    dict[str, tuple[tuple[str, str], ...]],
    Functions("By module: the function, and what its span is called."),
] = {
    "deepspeed": (("initialize", "initialize"),),
    "deepspeed.comm.comm": (("init_distributed", "init_distributed"),),
}
START_METHODS: Annotated[
    dict[str, tuple[tuple[str, str, str], ...]],
    Methods("By module: class, method, and what its span is called."),
] = {
    "deepspeed.runtime.config": (("DeepSpeedConfig", "__init__", "config"),),
    "deepspeed.ops.op_builder.builder": (("OpBuilder", "jit_load", "op_compile"),),
    "deepspeed.runtime.zero.partition_parameters": (("Init", "__init__", "zero_init"),),
    _ENGINE: (
        (ENGINE_CLASS, "__init__", "engine"),
        (ENGINE_CLASS, "_configure_distributed_model", "model"),
        (ENGINE_CLASS, "_broadcast_model", "broadcast"),
        (ENGINE_CLASS, "deepspeed_io", "dataloader"),
        (ENGINE_CLASS, "_configure_optimizer", "optimizer"),
        (ENGINE_CLASS, "_configure_basic_optimizer", "basic_optimizer"),
        (ENGINE_CLASS, "_do_optimizer_sanity_check", "optimizer_check"),
        (ENGINE_CLASS, "_configure_zero_optimizer", "zero_partition"),
        (ENGINE_CLASS, "_configure_bf16_optimizer", "bf16_optimizer"),
        (ENGINE_CLASS, "_configure_fp16_optimizer", "fp16_optimizer"),
        (ENGINE_CLASS, "_configure_lr_scheduler", "lr_scheduler"),
        (ENGINE_CLASS, "_configure_checkpointing", "checkpoint_engine"),
        (ENGINE_CLASS, "load_checkpoint", "checkpoint_load"),
    ),
}
START_IMPORTS: Annotated[
    tuple[str, ...],
    Modules(
        "Their import is a span: what an optimizer seems to cost is mostly that.", since="0.17.6"
    ),
] = ("deepspeed", "deepspeed.runtime.zero.muon.original_muon")

# Variables

VARIABLES: Annotated[
    frozenset[str],
    Texts("DeepSpeed sets them in the running process.", files=("deepspeed/",)),
] = frozenset("TORCH_CUDA_ARCH_LIST PYTORCH_ROCM_ARCH CROSS_RANK CROSS_SIZE LOCAL_SIZE".split())
NEWER_VARIABLES: Annotated[
    frozenset[str],
    Texts("DeepSpeed sets them as well.", since="0.19", files=("deepspeed/",)),
] = frozenset(["MORI_ENABLE_SDMA", "PYTORCH_NVML_BASED_CUDA_CHECK"])
