"""PyTorch: what dsray-inspect knows of its internals."""

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
    Modules,
    Names,
    Texts,
)

VERIFIED = ("2.13.0",)
"""Used on real ranks with these versions: every row without a `verified` of its own."""

# Layers

CHECKOUT: Annotated[
    tuple[str, ...], FilePatterns("Tells a source checkout of torch by files that only it has.")
] = (
    r"torch/_dynamo/.*",
    r"torch/_inductor/.*",
    r"torch/_functorch/.*",
    r"torch/(?:_ops|_tensor|_jit_internal)\.py.*",
    r"torch/nn/(?:modules|parallel)/.*",
    r"torch/autograd/(?:function|graph|grad_mode|__init__)\.py.*",
    r"torch/optim/(?:_\w+|optimizer|lr_scheduler|adam\w*|sgd)\.py.*",
    r"torch/distributed/(?:_\w+|distributed_c10d|c10d_logger|rendezvous|device_mesh)[/.].*",
    r"torch/distributed/(?:fsdp|tensor|elastic|checkpoint|algorithms)[/.].*",
    r"torch/utils/(?:data/|_contextlib\.py|cpp_extension\.py|file_baton\.py|checkpoint\.py).*",
)
COLLECTIVE_FILES: Annotated[
    tuple[str, ...], FilePatterns("Frames in them have the layer `collective`.")
] = (
    r"torch/distributed/distributed_c10d(?:\.py\w*)?",
    r"torch/distributed/_functional_collectives\w*(?:\.py\w*)?",
    r"torch/distributed/rendezvous(?:\.py\w*)?",
    r"torch/distributed/c10d_logger(?:\.py\w*)?",
    r"torch/distributed/collective_utils(?:\.py\w*)?",
    r"torch/distributed/device_mesh(?:\.py\w*)?",
    r"torch/distributed/nn/functional(?:\.py\w*)?",
    r"torch/distributed/_symmetric_memory/.*(?:\.py\w*)?",
)
NEWER_COLLECTIVE_FILES: Annotated[
    tuple[str, ...], FilePatterns("The same, for files of newer versions.", since="2.8")
] = (r"torch/distributed/_dist2(?:\.py\w*)?",)
COMPILED_COLLECTIVES: Annotated[
    str, Convention("The same, for pseudo-files of torch's compiled module.")
] = r"torch/distributed/_C/.*(?:\.py\w*)?"
GENERATED_FILES: Annotated[
    tuple[str, ...],
    Texts(
        "How the file names of code begin that torch generates.",
        files=("torch/fx/graph_module.py", "torch/package/_mangling.py"),
    ),
] = ("<eval_with_key>", "<torch_package")
OLDER_GENERATED_FILES: Annotated[
    tuple[str, ...], Convention("The same, as torch 2.0 to 2.2 named them.")
] = ("<debug_wrapper", "<resume in")
BUNDLED_FOLDER: Annotated[str, Convention("Libraries that torch brings along.")] = "_vendor/"

# Frames

FRAME_RULES: Annotated[
    tuple[FrameRule, ...], FrameRules("The phase of a rank, by its frames; the first rule counts.")
] = (
    # Kernels compiled on first use.
    FrameRule(
        "op_compile",
        r"torch/utils/cpp_extension\.py",
        r"load load_inline _jit_compile _run_ninja_build _import_module_from_library "
        r"_write_ninja_file\w* verify_ninja_availability",
    ),
    FrameRule("op_compile", r"torch/utils/file_baton\.py", "wait"),
    # Process groups and their rendezvous.
    FrameRule("init_process_group", r"torch/distributed/rendezvous\.py"),
    FrameRule(
        "init_process_group",
        r"torch/distributed/distributed_c10d\.py",
        r"init_process_group new_group new_subgroups\w* split_group _store_based_barrier "
        r"_new_process_group_helper _new_group\w*",
    ),
    FrameRule("data", r"torch/utils/data/.*"),
    FrameRule("checkpoint", r"torch/distributed/checkpoint/.*"),
    FrameRule("checkpoint", r"torch/serialization\.py", "save load _save _load _legacy_load"),
    FrameRule("optimizer_step", r"torch/optim/(?!lr_scheduler|swa_utils).*", "step"),
    FrameRule("forward", r"torch/nn/modules/module\.py", "_call_impl _wrapped_call_impl __call__"),
    FrameRule("forward", r"torch/_dynamo/eval_frame\.py", "__call__ _fn compile_wrapper"),
    FrameRule("backward", r"torch/_tensor\.py", "backward"),
    FrameRule(
        "backward",
        r"torch/autograd/__init__\.py torch/autograd/graph\.py",
        "backward grad _engine_run_backward",
    ),
)
PLUMBING: Annotated[
    tuple[FileFunctions, ...], Functions("Frames of every stack that tell nothing.")
] = (
    FileFunctions("torch/distributed/c10d_logger.py"),
    FileFunctions("torch/utils/_contextlib.py"),
    FileFunctions("torch/nn/modules/module.py", "_call_impl _wrapped_call_impl"),
)
NATIVE_COLLECTIVES: Annotated[
    tuple[str, ...], Convention("How C++ frames of a collective begin, NCCL's and gloo's too.")
] = ("c10d::", "gloo::", "ncclGroup", "ncclComm")
BATON_FILE: Annotated[
    str, Files("A thread in it waits for another process that compiles an extension.")
] = "torch/utils/file_baton.py"
BATON_WAIT: Annotated[Function, Functions("The wait itself.")] = ("wait", BATON_FILE)
BATON_LOCK: Annotated[str, Names("The lock file of a baton.", files=(BATON_FILE,))] = (
    "lock_file_path"
)

# Process groups and their flight recorder

C10D_MODULE: Annotated[str, Modules("Who has imported it may have process groups.")] = (
    "torch.distributed.distributed_c10d"
)
GROUP_TABLES: Annotated[
    tuple[str, ...],
    Names(
        "Names, ranks and backends of the process groups.",
        files=("torch/distributed/distributed_c10d.py",),
    ),
] = ("_world", "pg_names", "pg_group_ranks", "pg_map", "pg_backend_config")
GROUP_PURPOSE: Annotated[
    str, Texts("What a process group is for.", files=("torch/_C/_distributed_c10d.pyi",))
] = "group_desc"
RECORDER_MODULE: Annotated[
    str, Convention("The compiled module with the recorder's dump functions.")
] = "torch._C._distributed_c10d"
RECORDER_DUMPS: Annotated[
    tuple[str, ...],
    Convention("Functions that dump the recorder; the first is missing in 2.4.1 and 2.7.1."),
] = ("_dump_fr_trace", "_dump_nccl_trace")
RECORDER_DUMP: Annotated[
    str,
    Texts(
        "The dump that gloo's entries come with.",
        since="2.8",
        verified=("2.13.0", "2.11.0"),
        files=("torch/lib/libtorch_python.so",),
    ),
] = "_dump_fr_trace"
RECORDER_KEYS: Annotated[
    tuple[str, ...],
    Texts(
        "Keys of a dump and of its entries.",
        files=("torch/include/torch/csrc/distributed/c10d/FlightRecorder.hpp",),
    ),
] = (
    "entries",
    "pg_id",
    "process_group",
    "collective_seq_id",
    "time_created_ns",
    "profiling_name",
    "input_sizes",
    "input_dtypes",
    "is_p2p",
    "retired",
    "state",
    "timeout_ms",
)
RECORDER_STATUS: Annotated[
    str,
    Texts(
        "The key of a dump under which each group says how far it has come.",
        verified=("2.13.0",),
        files=("torch/include/torch/csrc/distributed/c10d/FlightRecorderDetail.hpp",),
    ),
] = "pg_status"
RECORDER_ENQUEUED: Annotated[
    str,
    Texts(
        "In a group's status: its newest collective.",
        verified=("2.13.0",),
        files=("torch/include/torch/csrc/distributed/c10d/FlightRecorderDetail.hpp",),
    ),
] = "last_enqueued_collective"
RECORDER_COMPLETED: Annotated[
    str,
    Texts(
        "In a group's status: its newest collective that has ended.",
        verified=("2.13.0",),
        files=("torch/include/torch/csrc/distributed/c10d/FlightRecorderDetail.hpp",),
    ),
] = "last_completed_collective"
RECORDER_FINISHED: Annotated[
    tuple[str, ...],
    Convention("Values of `state` of a finished collective; gloo's stays `scheduled`."),
] = ("completed", "COMPLETED")

# Other

SKIP_CODE: Annotated[
    str,
    Texts(
        "Tells torch's compiler to leave a frame alone.", files=("torch/lib/libtorch_python.so",)
    ),
] = "skip_code"
EVAL_FRAME_MODULE: Annotated[str, Convention("The compiled module that has `skip_code`.")] = (
    "torch._C._dynamo.eval_frame"
)
START_IMPORTS: Annotated[
    tuple[str, ...], Modules("Its import is a span of the recorded start.")
] = ("torch._dynamo",)
