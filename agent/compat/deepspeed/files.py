"""Modules and files of DeepSpeed, and the layer that frames in them have."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.rows import FilePatterns, Files, Function, Functions, Modules, Names

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
