"""The phase of a rank, by its frames."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.deepspeed.files import WAIT_WRAPPER_FILE
from dsray_inspect.agent.compat.rows import FileFunctions, FrameRule, FrameRules, Functions

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
