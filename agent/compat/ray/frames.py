"""Functions by which a stack says where a process is, and the threads they run in."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.ray.files import (
    SPLIT_FILE,
    TORCH_BACKEND_FILE,
    V1_SESSION_FILE,
    V1_UTILS_FILE,
    V1_WORKER_FILE,
    V2_CONTROLLER_FILE,
    V2_GROUP_FILE,
    V2_RUNNER_FILE,
    V2_UTIL_FILE,
    V2_WORKER_FILE,
    WORKER_FILE,
)
from dsray_inspect.agent.compat.rows import (
    FileFunctions,
    FrameRule,
    FrameRules,
    Function,
    Functions,
    Names,
    Texts,
)

MAIN_LOOP: Annotated[Function, Functions("The main thread of an idle worker stands in it.")] = (
    "main_loop",
    WORKER_FILE,
)
GETS: Annotated[
    tuple[Function, ...], Functions("`ray.get` and `ray.wait`: the rank waits for an object.")
] = (("get", WORKER_FILE), ("wait", WORKER_FILE), ("get_objects", WORKER_FILE))
GET: Annotated[Function, Functions("`ray.get` in the driver.")] = ("get", WORKER_FILE)
FIT: Annotated[
    Function, Functions("The driver waits in `fit()` for the run; in a subclass too.")
] = ("fit", "ray/train/base_trainer.py")
TASK_WRAPPERS: Annotated[
    frozenset[str],
    Names(
        "Functions around a task that are no task.",
        files=(V1_WORKER_FILE, V2_WORKER_FILE),
        any_of=True,
    ),
] = frozenset(["execute", "__execute"])
USER_CALLERS: Annotated[
    tuple[Function, ...],
    Functions("They call the user's function, whatever package it lives in.", since="2.41"),
] = (
    ("train_fn", V2_UTIL_FILE),
    ("train_fn", V1_UTILS_FILE),
    ("discard_return_wrapper", V1_UTILS_FILE),
)
ACTOR_METHOD: Annotated[Function, Functions("Ray's loop calls a method of an actor.")] = (
    "actor_method_executor",
    "ray/_private/function_manager.py",
)
RUN_INSIDE: Annotated[Function, Functions("It runs a function in an actor; our reads do.")] = (
    "__ray_call__",
    "ray/actor.py",
)
V1_TRAIN_FUNCTION: Annotated[
    Function, Functions("In V1 the thread with this frame runs the user's function.")
] = ("train_fn", V1_UTILS_FILE)
V1_RUNNER: Annotated[
    Function, Functions("The same, where the function is called without a wrapper.")
] = ("run", "ray/air/_internal/util.py")
V2_FUNCTION_CALLER: Annotated[
    Function,
    Functions(
        "V2's thread is in it from before the user's function until the last upload.", since="2.51"
    ),
] = ("train_fn_with_final_checkpoint_flush", V2_WORKER_FILE)
V2_THREAD_TARGET: Annotated[
    Function,
    Functions("V2's thread; nothing but this is left once the function is over.", since="2.41"),
] = ("_run_target", V2_RUNNER_FILE)
SETUP_TASKS: Annotated[
    frozenset[str],
    Names(
        "Tasks of a worker before its user's function runs.",
        since="2.41",
        files=(V1_WORKER_FILE, V2_WORKER_FILE),
    ),
] = frozenset(["execute", "__init__", "init_train_context", "run_train_fn", "__execute"])
ENDINGS: Annotated[
    tuple[Function, ...],
    Functions("A worker whose main thread is in one of these has finished.", since="2.41"),
] = (
    ("_shutdown_torch", TORCH_BACKEND_FILE),
    ("shutdown", V2_WORKER_FILE),
    ("finish", V1_SESSION_FILE),
    ("shutdown_session", V1_SESSION_FILE),
)
SETUP_TORCH: Annotated[
    Function, Functions("The rendezvous: a task of each worker, waited for by the controller.")
] = ("_setup_torch_process_group", TORCH_BACKEND_FILE)
BACKEND_ON_START: Annotated[Function, Functions("The controller sets up a backend.")] = (
    "on_start",
    "ray/train/backend.py",
)
INIT_CONTEXTS: Annotated[
    Function, Functions("The controller makes the workers' contexts.", since="2.41")
] = (
    "_init_train_context_on_workers",
    V2_GROUP_FILE,
)
CREATE_WORKERS: Annotated[
    Function, Functions("The controller starts the workers.", since="2.41")
] = (
    "_create_workers",
    V2_GROUP_FILE,
)
GET_METADATA: Annotated[
    Function, Functions("The controller asks new workers who they are.", since="2.41")
] = (
    "get_metadata",
    V2_WORKER_FILE,
)
SHUTDOWN_GROUP: Annotated[
    Function, Functions("The controller ends a worker group.", since="2.43")
] = (
    "_shutdown_worker_group",
    V2_CONTROLLER_FILE,
)
ASK_FOR_SHARD: Annotated[
    Function, Functions("A rank waits for its shard of a dataset.", since="2.50")
] = ("get_dataset_shard", "ray/train/v2/_internal/callbacks/datasets.py")
EPOCH_BARRIER: Annotated[
    Function, Functions("An epoch begins once every rank has asked for it.")
] = ("_barrier", SPLIT_FILE)
FRAME_RULES: Annotated[tuple[FrameRule, ...], FrameRules("The phase of a rank, by its frames.")] = (
    FrameRule("init_process_group", r"ray/train/torch/config\.py", "_setup_torch_process_group"),
    FrameRule("data", r"ray/data/.*"),
    FrameRule(
        "data", r"ray/train/v2/_internal/callbacks/datasets\.py", "get_dataset_shard", since="2.50"
    ),
    FrameRule(
        "data",
        r"ray/train/torch/train_loop_utils\.py",
        "__iter__ __next__ _prefetch_next_batch _move_to_device",
    ),
    # What `ray.train.report` does with a checkpoint once all ranks have come to it.
    FrameRule(
        "checkpoint",
        r"ray/train/v2/_internal/execution/storage\.py",
        "persist_current_checkpoint",
        since="2.44",
    ),
    FrameRule("checkpoint", r"ray/train/_internal/storage\.py", "persist_current_checkpoint"),
    FrameRule(
        "checkpoint",
        r"ray/train/v2/_internal/execution/context\.py",
        "_upload_checkpoint",
        since="2.51",
    ),
    FrameRule(
        "report",
        r"ray/train/v2/_internal/execution/(?:context|train_fn_utils)\.py",
        "report",
        since="2.44",
    ),
    FrameRule("report", r"ray/train/_internal/session\.py", "report"),
    FrameRule(
        "report",
        r"ray/train/v2/_internal/execution/(?:context|train_fn_utils)\.py",
        "get_all_reported_checkpoints",
        since="2.51",
    ),
    FrameRule("collective", r"ray/train/collective/.*", since="2.49"),
    FrameRule("collective", r"ray/train/v2/_internal/execution/collective_impl\.py", since="2.51"),
    FrameRule("collective", r"ray/util/collective/.*"),
)
PLUMBING: Annotated[
    tuple[FileFunctions, ...], Functions("Frames of every stack that tell nothing.")
] = (
    FileFunctions("ray/_private/workers/default_worker.py"),
    FileFunctions(WORKER_FILE, "main_loop"),
    FileFunctions("ray/_private/auto_init_hook.py"),
    FileFunctions("ray/_private/client_mode_hook.py"),
    FileFunctions("ray/util/tracing/tracing_helper.py"),
    FileFunctions("ray/_private/function_manager.py"),
    FileFunctions("ray/air/_internal/util.py", "run"),
    FileFunctions(V2_RUNNER_FILE, "_run_target", since="2.41"),
    FileFunctions(V2_WORKER_FILE, "train_fn_with_final_checkpoint_flush", since="2.51"),
    FileFunctions(V2_UTIL_FILE, "train_fn", since="2.41"),
    FileFunctions(V1_UTILS_FILE, "train_fn discard_return_wrapper"),
)

# Threads

V2_TRAINING_THREAD: Annotated[
    str, Texts("The thread of the user's function.", since="2.45", files=(V2_RUNNER_FILE,))
] = "TrainingThread("
V2_MONITORING_THREAD: Annotated[
    str, Texts("It outlives the user's function.", since="2.51", files=(V2_RUNNER_FILE,))
] = "MonitoringThread("
