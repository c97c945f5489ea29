"""What the recorded start times, and variables that DeepSpeed sets."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.deepspeed.files import ENGINE_CLASS, ENGINE_MODULE
from dsray_inspect.agent.compat.rows import Functions, Methods, Modules, Texts

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
    ENGINE_MODULE: (
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
