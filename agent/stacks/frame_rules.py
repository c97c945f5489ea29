"""What single functions of Ray Train, DeepSpeed and torch tell about what a rank is doing."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from dsray_inspect.agent.model import Frame, Phase
from dsray_inspect.agent.stacks.layers import home

Mark = Phase | Literal["pipeline"]

_PACKAGE_OF_LAYER = {
    "deepspeed": "deepspeed",
    "torch": "torch",
    "collective": "torch",
    "ray": "ray",
    "ray_train": "ray",
}


def _names(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(words.split())})\Z")


_ANY = re.compile("")
_LOADERS = re.compile(
    r"torch/utils/data/.*|torchdata/.*|ray/data/.*|deepspeed/runtime/dataloader\.py"
    r"|deepspeed/runtime/data_pipeline/.*|accelerate/data_loader\.py|webdataset/.*|nvidia/dali/.*"
    r"|datasets/(?:iterable|arrow)_dataset\.py|litdata/.*|streaming/base/.*"
)
_ZERO_3 = re.compile(
    r"deepspeed/runtime/(?:zero/(?:partition_parameters|partitioned_param_coordinator|mics"
    r"|parameter_offload|stage3)|superoffload/\w+|zenflow/\w*stage3)\.py"
)
_ZERO = re.compile(r"deepspeed/runtime/(?:zero|superoffload|zenflow)/\w+\.py")
_TRAINERS = re.compile(r"(?:transformers|accelerate|lightning|pytorch_lightning)/.*")

# Path in the package, names in the file, mark. The first row that fits counts.
_MARKS: tuple[tuple[re.Pattern[str], re.Pattern[str], Mark], ...] = (
    # Kernels compiled on first use; a source checkout has op_builder beside deepspeed.
    (
        re.compile(r"torch/utils/cpp_extension\.py"),
        _names(
            r"load load_inline _jit_compile _run_ninja_build _import_module_from_library "
            r"_write_ninja_file\w* verify_ninja_availability"
        ),
        "op_compile",
    ),
    (re.compile(r"torch/utils/file_baton\.py"), _names("wait"), "op_compile"),
    (re.compile(r"(?:.*/)?op_builder/builder\.py"), _names("load jit_load"), "op_compile"),
    (re.compile(r"deepspeed/comm/torch\.py"), _names("build_shm_op"), "op_compile"),
    # Process groups and their rendezvous.
    (re.compile(r"torch/distributed/rendezvous\.py"), _ANY, "init_process_group"),
    (
        re.compile(r"torch/distributed/distributed_c10d\.py"),
        _names(
            r"init_process_group new_group new_subgroups\w* split_group _store_based_barrier "
            r"_new_process_group_helper _new_group\w*"
        ),
        "init_process_group",
    ),
    (
        re.compile(r"ray/train/torch/config\.py"),
        _names("_setup_torch_process_group"),
        "init_process_group",
    ),
    (re.compile(r"deepspeed/comm/torch\.py"), _names("init_process_group"), "init_process_group"),
    # DeepSpeed's start-up, its import included.
    (
        re.compile(r"deepspeed/__init__\.py"),
        _names(r"initialize init_inference tp_model_init <module>"),
        "deepspeed_init",
    ),
    (re.compile(r"deepspeed/comm/comm\.py"), _names("init_distributed"), "deepspeed_init"),
    (
        re.compile(r"deepspeed/runtime/(?:engine|hybrid_engine|pipe/engine)\.py"),
        _names("__init__"),
        "deepspeed_init",
    ),
    (
        re.compile(r"deepspeed/runtime/zero/(?:partition_parameters|mics)\.py"),
        _names(r"wrapper _post_init_method _zero_init_param _convert_to_\w+"),
        "deepspeed_init",
    ),
    # Batches.
    (_LOADERS, _ANY, "data"),
    (
        re.compile(r"ray/train/torch/train_loop_utils\.py"),
        _names("__iter__ __next__ _prefetch_next_batch _move_to_device"),
        "data",
    ),
    (
        re.compile(r"deepspeed/runtime/pipe/engine\.py"),
        _names("_exec_load_micro_batch _next_batch"),
        "data",
    ),
    # Checkpoints.
    (
        re.compile(r"deepspeed/runtime/(?:pipe/|hybrid_)?engine\.py"),
        _names(r"_?(?:save|load|create|commit)_\w*checkpoint\w* save_16bit_model save_fp16_model"),
        "checkpoint",
    ),
    (
        re.compile(r"deepspeed/runtime/checkpoint_engine/.*|deepspeed/checkpoint/.*"),
        _ANY,
        "checkpoint",
    ),
    (re.compile(r"torch/distributed/checkpoint/.*"), _ANY, "checkpoint"),
    (
        re.compile(r"torch/serialization\.py"),
        _names("save load _save _load _legacy_load"),
        "checkpoint",
    ),
    (re.compile(r"safetensors/.*"), _names(r"(?:save|load)\w*"), "checkpoint"),
    (
        _TRAINERS,
        _names(r"_?save_(?:checkpoint|state|model|pretrained) _?load_(?:from_checkpoint|state)"),
        "checkpoint",
    ),
    # What `ray.train.report` does with a checkpoint once all ranks have come to it.
    (
        re.compile(r"ray/train/(?:v2/)?_internal/(?:execution/)?(?:storage|context)\.py"),
        _names("persist_current_checkpoint _upload_checkpoint"),
        "checkpoint",
    ),
    # ZeRO's own communication.
    (_ZERO_3, re.compile(r".*all_?gather|fetch_sub_module|_fetch_sub_module"), "zero_gather"),
    (
        re.compile(r"deepspeed/runtime/zero/(?:partition_parameters|mics)\.py"),
        _names("wait _ensure_availability_of_partitioned_params"),
        "zero_gather",
    ),
    # At the start of a forward the ranks of ZeRO-3 compare what they are about to gather.
    (
        re.compile(r"deepspeed/runtime/zero/utils\.py"),
        _names(r"assert_\w+_same_as_other_ranks"),
        "zero_gather",
    ),
    (
        _ZERO,
        re.compile(
            r"(?!_model_parallel|zero_reduced|_clear|create_)(?:.*(?:reduce_|_reduce|avg_scatter)"
            r"|average_tensor|partition_grads\Z|independent_gradient_partition_epilogue"
            r"|process_gradients|gradient_reduction)"
        ),
        "grad_reduce",
    ),
    (
        re.compile(r"deepspeed/runtime/engine\.py"),
        re.compile(r"\w*allreduce_\w+|_reduce_\w+|_flush_coalesced_reduction\w*"),
        "grad_reduce",
    ),
    (
        re.compile(r"deepspeed/runtime/pipe/engine\.py"),
        _names("_exec_reduce_grads _exec_reduce_tied_grads _bf16_reduce_grads"),
        "grad_reduce",
    ),
    # ray.train.report and what it waits for.
    (
        re.compile(
            r"ray/train/v2/_internal/execution/(?:context|train_fn_utils)\.py"
            r"|ray/train/_internal/session\.py"
        ),
        _names("report get_all_reported_checkpoints"),
        "report",
    ),
    # The three parts of a step, in DeepSpeed's words and then in torch's.
    (
        re.compile(r"deepspeed/runtime/(?:hybrid_)?engine\.py"),
        _names("forward generate _forward_prologue _forward_epilogue"),
        "forward",
    ),
    (re.compile(r"deepspeed/runtime/engine\.py"), _names(r"backward _backward_\w+"), "backward"),
    (
        re.compile(r"deepspeed/runtime/engine\.py"),
        _names("step _take_model_step"),
        "optimizer_step",
    ),
    (re.compile(r"deepspeed/runtime/pipe/engine\.py"), _names("_exec_forward_pass"), "forward"),
    (re.compile(r"deepspeed/runtime/pipe/engine\.py"), _names("_exec_backward_pass"), "backward"),
    (
        re.compile(r"deepspeed/runtime/pipe/engine\.py"),
        _names("_exec_optimizer_step"),
        "optimizer_step",
    ),
    (
        re.compile(r"deepspeed/runtime/pipe/engine\.py"),
        _names("train_batch eval_batch"),
        "pipeline",
    ),
    (
        re.compile(
            r"deepspeed/runtime/(?:zero/stage\w+|bf16_optimizer|fp16/\w+|base_optimizer)\.py"
            r"|deepspeed/ops/(?:adam|lion|lamb|adagrad)/.*"
            r"|torch/optim/(?!lr_scheduler|swa_utils).*"
        ),
        _names("step step_fused_adam step_fused_lamb"),
        "optimizer_step",
    ),
    (
        re.compile(r"torch/nn/modules/module\.py|torch/_dynamo/eval_frame\.py"),
        _names("_call_impl _wrapped_call_impl __call__ _fn compile_wrapper"),
        "forward",
    ),
    (re.compile(r"torch/_tensor\.py"), _names("backward"), "backward"),
    (
        re.compile(r"torch/autograd/(?:__init__|graph)\.py"),
        _names("backward grad _engine_run_backward"),
        "backward",
    ),
    # Waiting for the other ranks outside all of the above.
    (
        re.compile(
            r"ray/train/collective/.*|ray/train/v2/_internal/execution/collective_impl\.py"
            r"|ray/util/collective/.*"
        ),
        _ANY,
        "collective",
    ),
    (
        re.compile(r"deepspeed/comm/(?:comm|torch|ccl)\.py"),
        re.compile(
            r"(?:inference_)?all_reduce|broadcast|all_gather|reduce|gather|scatter|all_to_all|barrier"
            r"|monitored_barrier|send|recv|isend|irecv"
        ),
        "collective",
    ),
)


def path_of(frame: Frame) -> str:
    """Return the path of a frame's file inside its package, also for a checkout of the package."""
    package, path = home(frame.file)
    if package == "" and frame.layer in _PACKAGE_OF_LAYER:
        name = _PACKAGE_OF_LAYER[frame.layer]
        _, found, tail = frame.file.rpartition(f"/{name}/")
        if found:
            return f"{name}/{tail}"

    return path


def mark_of(frame: Frame) -> Mark | None:
    """Return what a frame says about its rank, None when it says nothing."""
    if frame.layer == "native":
        return None

    mark = _mark(path_of(frame), frame.name.rpartition(".")[2] or frame.name)
    return "collective" if mark is None and frame.layer == "collective" else mark


@lru_cache(maxsize=16384)
def _mark(path: str, name: str) -> Mark | None:
    for paths, names, mark in _MARKS:
        if paths.fullmatch(path) and names.match(name):
            return mark

    return None
