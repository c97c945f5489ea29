"""Ray and Ray Train: what dsray-inspect knows of their internals.

V1 and V2 are the generations of Ray Train (`RAY_TRAIN_V2_ENABLED`). `tests/compat` runs on the
installed Ray; `python -m tests.compat DIR` runs it on any unpacked release.
"""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.rows import (
    AttributePaths,
    Convention,
    EnumValues,
    Fields,
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

VERIFIED = ("2.60.0", "2.49.2")
"""The versions on which every row without a `verified` of its own was used on a real cluster."""

# Files

RAY_FOLDER: Annotated[str, Files("Frames below it have the layer `ray`.")] = "ray/"
TRAIN_FOLDER: Annotated[str, Files("Frames below it have the layer `ray_train`.")] = "ray/train/"
TUNE_FOLDER: Annotated[str, Files("A driver's `fit()` stands there too.")] = "ray/tune/"
PRIVATE_FOLDERS: Annotated[
    tuple[str, ...], Files("Ray's own wrappers around a task; skipped when it is named.")
] = ("ray/_private/", "ray/util/tracing/")
WORKER_FILE: Annotated[str, Files("Ray's task loop, `ray.get`.")] = "ray/_private/worker.py"
LOOP_FILES: Annotated[
    frozenset[str], Files("An actor's main thread stands only in these between two tasks.")
] = frozenset([WORKER_FILE, "ray/_private/workers/default_worker.py"])
WORKER_PROGRAM: Annotated[str, Files("How a worker process is told by its argv.")] = (
    "ray/_private/workers/default_worker.py"
)
V1_WORKER_FILE: Annotated[str, Files("V1's worker actor.")] = "ray/train/_internal/worker_group.py"
V1_SESSION_FILE: Annotated[str, Files("V1's session.")] = "ray/train/_internal/session.py"
V1_UTILS_FILE: Annotated[str, Files("V1's callers of the user's function.")] = (
    "ray/train/_internal/utils.py"
)
V2_GROUP_FILE: Annotated[str, Files("V2's worker group and what it logs.", since="2.41")] = (
    "ray/train/v2/_internal/execution/worker_group/worker_group.py"
)
V2_WORKER_FILE: Annotated[str, Files("V2's worker actor.", since="2.41")] = (
    "ray/train/v2/_internal/execution/worker_group/worker.py"
)
V2_RUNNER_FILE: Annotated[str, Files("V2's threads in a worker.", since="2.41")] = (
    "ray/train/v2/_internal/execution/worker_group/thread_runner.py"
)
V2_UTIL_FILE: Annotated[str, Files("V2's caller of the user's function.", since="2.41")] = (
    "ray/train/v2/_internal/util.py"
)
V2_CONTROLLER_FILE: Annotated[str, Files("V2's controller.", since="2.43")] = (
    "ray/train/v2/_internal/execution/controller/controller.py"
)
V2_LOGGING_FILE: Annotated[str, Files("V2's log files.", since="2.41")] = (
    "ray/train/v2/_internal/logging/logging.py"
)
TORCH_BACKEND_FILE: Annotated[str, Files("Ray Train's backend for torch.")] = (
    "ray/train/torch/config.py"
)
_RAYLET = "ray/_raylet.so"

# Layers

UPLOADED_FOLDERS: Annotated[
    tuple[str, ...],
    Texts(
        "The user's own code, as a job's runtime environment unpacks it.",
        files=("ray/_private/runtime_env/working_dir.py", "ray/_private/runtime_env/py_modules.py"),
    ),
] = ("working_dir_files", "py_modules_files")
UPLOADS_BELOW: Annotated[
    str, Convention("The folder of a node that `UPLOADED_FOLDERS` lie in.")
] = "/runtime_resources/"
CHECKOUT: Annotated[
    str, FilePatterns("Tells a source checkout of Ray by folders that only it has.")
] = (
    r"ray/(?:_private|_internal|train/_internal|train/v2/_internal|train/v2/api|data/_internal"
    r"|air/_internal)/.*"
)
CHECKOUT_ROOT: Annotated[str, Convention("Where a source checkout has the package.")] = (
    r"python/(ray/.*)"
)
BUNDLED_FOLDER: Annotated[str, Convention("Libraries that Ray brings along.")] = "thirdparty_files/"

BUNDLED_PYNVML: Annotated[str, Modules("Reads GPUs where pynvml is not installed.")] = (
    "ray._private.thirdparty.pynvml"
)

# Frames

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
FRAME_RULES: Annotated[tuple[FrameRule, ...], FrameRules("The phase of a rank, by its frames.")] = (
    FrameRule("init_process_group", r"ray/train/torch/config\.py", "_setup_torch_process_group"),
    FrameRule("data", r"ray/data/.*"),
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
    str, Texts("The thread of the user's function.", since="2.46", files=(V2_RUNNER_FILE,))
] = "TrainingThread("
V2_MONITORING_THREAD: Annotated[
    str, Texts("It outlives the user's function.", since="2.51", files=(V2_RUNNER_FILE,))
] = "MonitoringThread("

# Actors and tasks

V1_MODULE: Annotated[str, Modules("A V1 worker's class comes from below it.")] = (
    "ray.train._internal"
)
V2_MODULE: Annotated[str, Modules("Classes of V2's actors come from below it.", since="2.41")] = (
    "ray.train.v2"
)
WORKER_CLASS: Annotated[
    str, Names("The class of a worker actor.", files=(V1_WORKER_FILE, V2_WORKER_FILE))
] = "RayTrainWorker"
CONTROLLER_CLASS: Annotated[
    str, Names("The class of V2's controller actor.", since="2.43", files=(V2_CONTROLLER_FILE,))
] = "TrainController"
STARTING_STATES: Annotated[
    tuple[str, ...],
    EnumValues("States of an actor that will be alive.", enum="ray.rpc.ActorTableData.ActorState"),
] = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "RESTARTING")
ALIVE_STATE: Annotated[
    str, EnumValues("An actor is alive.", enum="ray.rpc.ActorTableData.ActorState")
] = "ALIVE"
PENDING_GROUP_STATES: Annotated[
    tuple[str, ...],
    EnumValues(
        "States of a placement group that waits for resources.",
        enum="ray.rpc.PlacementGroupTableData.PlacementGroupState",
    ),
] = ("PENDING", "RESCHEDULING")
UNPLACED_GROUP_STATES: Annotated[
    tuple[str, ...],
    EnumValues(
        "States of a placement group before its workers exist.",
        enum="ray.rpc.PlacementGroupTableData.PlacementGroupState",
    ),
] = ("PENDING", "PREPARED")
POLL_TASK: Annotated[
    str,
    Names(
        "V2 polls each worker every 2 s: too many to be read.",
        since="2.41",
        files=(V2_WORKER_FILE,),
    ),
] = "poll_status"
CREATE_TASK: Annotated[
    str, Names("An actor's creation.", since="2.41", files=(V2_WORKER_FILE,))
] = "__init__"
CONTEXT_TASK: Annotated[
    str, Names("It unpickles the user's function.", since="2.41", files=(V2_WORKER_FILE,))
] = "init_train_context"
TRAIN_TASK: Annotated[
    str,
    Names("It starts the thread of the user's function.", since="2.41", files=(V2_WORKER_FILE,)),
] = "run_train_fn"
EXECUTE_TASK: Annotated[
    str,
    Names(
        "It runs a function that a backend names.",
        files=("ray/train/_internal/base_worker_group.py", V1_WORKER_FILE, V2_WORKER_FILE),
        any_of=True,
    ),
] = "execute"
TASK_ASKED_STATES: Annotated[
    tuple[str, ...],
    EnumValues(
        "States of a task before it runs, the first of them first.", enum="ray.rpc.TaskStatus"
    ),
] = ("PENDING_ARGS_AVAIL", "PENDING_NODE_ASSIGNMENT", "SUBMITTED_TO_WORKER")
TASK_RUNNING_STATE: Annotated[str, EnumValues("A task runs.", enum="ray.rpc.TaskStatus")] = (
    "RUNNING"
)
TASK_ENDED_STATES: Annotated[
    tuple[str, ...], EnumValues("A task is over.", enum="ray.rpc.TaskStatus")
] = ("FINISHED", "FAILED")
UNPICKLE_SPAN: Annotated[
    str, Texts("The part of a task that unpickles its arguments.", files=(_RAYLET,))
] = "task:deserialize_arguments"
STORE_SPAN: Annotated[str, Texts("The part that stores its results.", files=(_RAYLET,))] = (
    "task:store_outputs"
)
RUNNING_STATE: Annotated[
    str,
    Names(
        "The state in which V2's controller polls its workers.",
        since="2.43",
        files=("ray/train/v2/_internal/execution/controller/state.py",),
    ),
] = "RUNNING"

# Processes

PROCESS_TITLE: Annotated[
    str, Texts("How the title of a worker process begins.", files=(_RAYLET,))
] = "ray::"
SERVICE_TITLES: Annotated[
    tuple[str, ...],
    Texts("Titles of Ray's own services.", since="2.55", files=("ray/_private/ray_constants.py",)),
] = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
RAYLET_PROGRAM: Annotated[
    str, Texts("How a raylet's argv[0] ends.", files=("ray/_private/services.py",))
] = "/raylet"
NODE_ID_FLAG: Annotated[
    str, Texts("A raylet's argv names its node.", files=("ray/_private/services.py",))
] = "--node_id"
RAYLET_SOCKET_FLAG: Annotated[
    str, Texts("A raylet's argv names its socket.", files=("ray/_private/services.py",))
] = "--raylet_socket_name"
GCS_ADDRESS_FLAG: Annotated[
    str, Texts("A raylet's argv names its cluster.", files=("ray/_private/services.py",))
] = "--gcs-address"
LOG_FOLDER_FLAG: Annotated[
    str, Texts("A raylet's argv names the folder of its logs.", files=("ray/_private/services.py",))
] = "--log_dir"

# Variables

ADDRESS_VARIABLE: Annotated[
    str,
    Texts("The cluster, where --address is left out.", files=("ray/_private/ray_constants.py",)),
] = "RAY_ADDRESS"
AUTH_MODE_VARIABLE: Annotated[
    str, Texts("Whether a token is sent.", since="2.52", files=(_RAYLET,))
] = "RAY_AUTH_MODE"
TOKEN_VARIABLE: Annotated[str, Texts("The token.", since="2.52", files=(_RAYLET,))] = (
    "RAY_AUTH_TOKEN"
)
TOKEN_PATH_VARIABLE: Annotated[str, Texts("The token's file.", since="2.52", files=(_RAYLET,))] = (
    "RAY_AUTH_TOKEN_PATH"
)
TOKEN_FILE: Annotated[
    str, Texts("The token's file below the home folder.", since="2.52", files=(_RAYLET,))
] = ".ray/auth_token"
TLS_VARIABLE: Annotated[str, Texts("gRPC speaks TLS.", files=(_RAYLET,))] = "RAY_USE_TLS"
JOB_CONFIG_VARIABLE: Annotated[
    str,
    Texts(
        "Ray's job manager sets it in the driver of a submitted job.",
        files=("ray/_private/worker.py",),
    ),
] = "RAY_JOB_CONFIG_JSON_ENV_VAR"
JOB_ID_VARIABLE: Annotated[
    str, Texts("Ray sets it in a worker.", files=("ray/_private/ray_constants.py", _RAYLET))
] = "RAY_JOB_ID"
RAYLET_PID_VARIABLE: Annotated[
    str, Texts("Ray sets it in a worker.", files=("ray/_private/ray_constants.py",))
] = "RAY_RAYLET_PID"
OVERRIDE_VARIABLE: Annotated[
    str,
    Texts(
        "Lets job and script both name a runtime environment.", files=("ray/_private/worker.py",)
    ),
] = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
PYTHON_MATCH_VARIABLE: Annotated[
    str,
    Texts(
        "How exactly Python's version must match.",
        since="2.51",
        files=("ray/_private/utils.py",),
    ),
] = "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL"

TRAIN_VARIABLES: Annotated[
    frozenset[str],
    Texts("Ray Train sets them in the running worker.", files=("ray/train/",)),
] = frozenset(
    "RANK LOCAL_RANK NODE_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT GROUP_RANK "
    "GROUP_WORLD_SIZE ROLE_RANK ROLE_WORLD_RANK ROLE_WORLD_SIZE ACCELERATE_TORCH_DEVICE "
    "TORCH_NCCL_ASYNC_ERROR_HANDLING NCCL_ASYNC_ERROR_HANDLING".split()
)
NEWER_TRAIN_VARIABLES: Annotated[
    frozenset[str],
    Texts("Ray Train sets them as well.", since="2.60", files=("ray/train/",)),
] = frozenset(
    "TORCHFT_LIGHTHOUSE NCCL_RAS_ADDR MEGASCALE_PORT MEGASCALE_COORDINATOR_ADDRESS "
    "MEGASCALE_NUM_SLICES MEGASCALE_SLICE_ID".split()
)
DEVICE_VARIABLES: Annotated[
    frozenset[str],
    Texts(
        "The devices of a process: Ray sets them for the actor, Ray Train again when the workers"
        " of a node share theirs.",
        files=("ray/_private/accelerators/",),
    ),
] = frozenset(
    "CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES ONEAPI_DEVICE_SELECTOR ASCEND_RT_VISIBLE_DEVICES "
    "HABANA_VISIBLE_MODULES NEURON_RT_VISIBLE_CORES TPU_VISIBLE_CHIPS".split()
)
NEWER_DEVICE_VARIABLES: Annotated[
    frozenset[str],
    Texts("The same, of newer versions.", since="2.60", files=("ray/_private/accelerators/",)),
] = frozenset(
    "HIP_VISIBLE_DEVICES ZE_AFFINITY_MASK MBLT_RT_VISIBLE_DEVICES RBLN_DEVICES "
    "FURIOSA_DEVICES".split()
)
PLUGIN_DEVICE_VARIABLES: Annotated[
    frozenset[str], Convention("The same, of accelerators that Ray gets from elsewhere.")
] = frozenset(["MACA_VISIBLE_DEVICES", "METAX_VISIBLE_DEVICES"])
WORKER_VARIABLES: Annotated[
    frozenset[str],
    Texts("Ray sets them in a worker.", since="2.49", files=("ray/_private/", _RAYLET)),
] = frozenset(
    "OMP_NUM_THREADS PYTHONBREAKPOINT SPT_NOENV TPU_CHIPS_PER_HOST_BOUNDS TPU_HOST_BOUNDS "
    "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR".split()
)
VARIABLE_PREFIX: Annotated[str, Convention("How variables begin that Ray sets or reads.")] = "RAY_"
TRAIN_VARIABLE_PREFIX: Annotated[str, Convention("The same for Ray Train.")] = "RAY_TRAIN_"

# Log files

APP_LOG: Annotated[
    str, Texts("A rank's own log of V2, by worker id.", since="2.41", files=(V2_LOGGING_FILE,))
] = "ray-train-app-worker-"
CONTROLLER_LOG: Annotated[
    str, Texts("The controller's log of V2, by worker id.", since="2.41", files=(V2_LOGGING_FILE,))
] = "ray-train-sys-controller"
TRAIN_LOGGER: Annotated[
    str,
    Texts(
        "The logger that writes them.",
        since="2.41",
        files=("ray/train/v2/_internal/logging/logging.py",),
    ),
] = "ray.train"
TRAIN_LOG_FOLDER: Annotated[str, Convention("Their folder below the node's `logs`.")] = "train"
LOG_RECORD_KEYS: Annotated[
    tuple[str, ...],
    Texts(
        "Keys of a line of these logs.",
        files=("ray/_common/logging_constants.py", "ray/_private/ray_logging/constants.py"),
    ),
] = ("asctime", "levelname", "message", "exc_text", "timestamp_ns")
OUTPUT_LOGS: Annotated[
    tuple[tuple[str, str], ...],
    Convention("What a worker process wrote: stream, and pattern by worker id below `logs`."),
] = (("stdout", "worker-{}-*.out"), ("stderr", "worker-{}-*.err"))
OUTPUT_MARKS: Annotated[
    tuple[str, ...],
    Texts(
        "How Ray begins lines that tell whose output follows.",
        files=("ray/_private/ray_constants.py",),
    ),
] = (":job_id:", ":actor_name:", ":task_name:")
SPILL_FOLDER: Annotated[
    str,
    Texts("Objects moved to disk, below the session.", files=("ray/_private/ray_constants.py",)),
] = "ray_spilled_objects"

# Messages in the controller's log

GROUP_STARTED: Annotated[
    str, Texts("Lists pid and rank of each worker.", since="2.46", files=(V2_GROUP_FILE,))
] = "Started training worker group"
GROUP_MEMBER: Annotated[
    str, Convention("One line of that list, as a pattern: ip, pid and world rank.")
] = r"\(ip=([^,]+), pid=(\d+)\) world_rank=(\d+)"
FAILURE_POLICY: Annotated[
    str,
    Texts(
        "Tells what the ranks failed of.",
        since="2.49",
        files=("ray/train/v2/_internal/execution/failure_handling/default.py",),
    ),
] = "[FailurePolicy]"
ERROR_SNIPPET: Annotated[
    str, Convention("The head of what some ranks failed of, as a pattern.")
] = r"^\[Rank ([\d,]+) Error Snippet\]:$"
ERROR_SNIPPET_TEXT: Annotated[
    str,
    Texts(
        "The constant part of that head.",
        since="2.49",
        files=("ray/train/v2/_internal/execution/worker_group/poll.py",),
    ),
] = "Error Snippet]"
GROUP_INITIALIZATION: Annotated[
    str, Texts("Marks the steps of a group's start.", since="2.55", files=(V2_GROUP_FILE,))
] = "[Worker Group Initialization]"
GROUP_ATTEMPTED: Annotated[
    str, Texts("A group's start begins.", since="2.41", files=(V2_GROUP_FILE,))
] = "Attempting to start training worker group"
PLACEMENT_READY: Annotated[
    str, Texts("The placement group is there.", since="2.55", files=(V2_GROUP_FILE,))
] = "Placement group ready"
WORKERS_CREATED: Annotated[
    str, Texts("The worker actors are there.", since="2.55", files=(V2_GROUP_FILE,))
] = "worker actors created"
CALLBACKS_DONE: Annotated[
    str,
    Texts("Backends are set up; says how long each took.", since="2.41", files=(V2_GROUP_FILE,)),
] = "after_worker_group_start"
FUNCTION_LAUNCHED: Annotated[
    str, Texts("The user's function runs.", since="2.55", files=(V2_GROUP_FILE,))
] = "Train function launched"
STEP_SECONDS: Annotated[str, Convention("How long such a step took, as a pattern.")] = (
    r"(?:in|completed in) ([\d.]+)s"
)
CALLBACK_SECONDS: Annotated[str, Convention("How long one callback took, as a pattern.")] = (
    r"^\s+(\w+): ([\d.]+)s"
)
BACKEND_CALLBACK: Annotated[
    str,
    Names(
        "The callback that sets up the process group.",
        since="2.41",
        files=("ray/train/v2/_internal/callbacks/backend_setup.py",),
    ),
] = "BackendSetupCallback"

# Attributes that are read in the controller, and in a rank

CONTROLLER_PATHS: Annotated[
    dict[str, str],
    AttributePaths(
        "The run, its state and its attempt, by what they are called in our answer.",
        since="2.49",
        files=(
            V2_CONTROLLER_FILE,
            "ray/train/v2/_internal/execution/context.py",
            "ray/train/v2/_internal/execution/controller/state.py",
            "ray/train/v2/api/config.py",
        ),
    ),
] = {
    "run_id": "_train_run_context.run_id",
    "run_name": "_train_run_context.run_config.name",
    "state": "_state._state_type.state_name",
    "attempt": "_run_attempt_id",
}
WORKER_GROUP_PATHS: Annotated[
    dict[str, str],
    AttributePaths(
        "The present worker group; without a state it is being started or shut down.",
        since="2.43",
        files=(V2_CONTROLLER_FILE, V2_GROUP_FILE),
    ),
] = {"group": "_worker_group", "state": "_worker_group._worker_group_state"}
GET_WORKERS: Annotated[
    str, Names("Returns the workers of a group.", since="2.41", files=(V2_GROUP_FILE,))
] = "get_workers"
WORKER_PATHS: Annotated[
    dict[str, str],
    AttributePaths(
        "A worker's place, by what it is called in our answer.",
        since="2.41",
        files=(V2_WORKER_FILE, "ray/train/v2/_internal/execution/context.py"),
    ),
] = {
    "rank": "distributed_context.world_rank",
    "local_rank": "distributed_context.local_rank",
    "node_rank": "distributed_context.node_rank",
    "world_size": "distributed_context.world_size",
    "hostname": "metadata.hostname",
}
WORKER_ACTOR: Annotated[
    str,
    AttributePaths("A worker's actor id.", since="2.41", files=(V2_WORKER_FILE, "ray/actor.py")),
] = "actor._actor_id"
WORKER_ACCELERATORS: Annotated[
    str, AttributePaths("A worker's accelerators, by kind.", since="2.41", files=(V2_WORKER_FILE,))
] = "metadata.accelerator_ids"
CONTEXT_MODULE: Annotated[str, Modules("A rank's own context.", since="2.41")] = (
    "ray.train.v2._internal.execution.context"
)
CONTEXT_ATTRIBUTES: Annotated[
    tuple[str, ...],
    Names(
        "The callbacks of a rank's context.",
        since="2.41",
        files=("ray/train/v2/_internal/execution/context.py",),
    ),
] = ("_train_context", "execution_context", "train_context_callbacks")
METRICS_ATTRIBUTES: Annotated[
    tuple[str, ...],
    Names(
        "The sums that a callback keeps.",
        since="2.49",
        files=(
            "ray/train/v2/_internal/callbacks/metrics.py",
            "ray/train/v2/_internal/metrics/base.py",
        ),
    ),
] = ("_metrics", "_current_value")
_WORKER_METRICS = "ray/train/v2/_internal/metrics/worker.py"
REPORT_SECONDS: Annotated[
    str, Texts("Seconds in `ray.train.report`.", since="2.49", files=(_WORKER_METRICS,))
] = "train_report_total_blocked_time_s"
CHECKPOINT_SYNC_SECONDS: Annotated[
    str, Texts("The part of it that is a barrier.", since="2.60", files=(_WORKER_METRICS,))
] = "train_checkpoint_sync_total_time_s"
CHECKPOINT_TRANSFER_SECONDS: Annotated[
    str, Texts("The part of it that is an upload.", since="2.60", files=(_WORKER_METRICS,))
] = "train_checkpoint_transfer_total_time_s"

# Methods that are timed in a rank

REPORT_V2: Annotated[
    Method,
    Methods(
        "`ray.train.report` of V2.",
        since="2.50.1",
        verified=("2.60.0",),
    ),
] = ("ray.train.v2._internal.execution.train_fn_utils", "DistributedTrainFnUtils", "report")
REPORT_V1: Annotated[Method, Methods("`ray.train.report` of V1.")] = (
    "ray.train._internal.session",
    "_TrainSession",
    "report",
)
GET_OBJECTS: Annotated[Method, Methods("`ray.get`.")] = (
    "ray._private.worker",
    "Worker",
    "get_objects",
)
PUT_OBJECT: Annotated[Method, Methods("`ray.put`.")] = (
    "ray._private.worker",
    "Worker",
    "put_object",
)
SERIALIZE: Annotated[Method, Methods("An object's value becomes bytes.")] = (
    "ray._private.serialization",
    "SerializationContext",
    "serialize",
)
DESERIALIZE: Annotated[Method, Methods("Bytes become an object's value.")] = (
    "ray._private.worker",
    "Worker",
    "deserialize_objects",
)
SERIALIZED_BYTES: Annotated[str, Texts("The size of a serialized object.", files=(_RAYLET,))] = (
    "total_bytes"
)

# The recorded start: where `probes.startup` puts its wrappers and callback

START_FUNCTION: Annotated[tuple[str, Function], Functions("The rendezvous is timed.")] = (
    "ray.train.torch.config",
    ("_setup_torch_process_group", TORCH_BACKEND_FILE),
)
START_RUNNER: Annotated[
    Method, Methods("Here the thread of the user's function starts.", since="2.41")
] = (
    "ray.train.v2._internal.execution.worker_group.thread_runner",
    "ThreadRunner",
    "run",
)
START_CALLBACKS: Annotated[
    tuple[str, Function],
    Functions("Ray Train's list of callbacks takes ours.", since="2.49"),
] = (
    "ray.train.v2._internal.callbacks.env_callback",
    ("_initialize_env_callbacks", "ray/train/v2/_internal/callbacks/env_callback.py"),
)
CALLBACK_BASES: Annotated[str, Modules("Its bases.", since="2.41")] = (
    "ray.train.v2._internal.execution.callback"
)
CALLBACK_HOOKS: Annotated[
    tuple[str, ...],
    Names(
        "The hooks of these bases that ours fills.",
        since="2.43",
        files=("ray/train/v2/_internal/execution/callback.py",),
    ),
] = (
    "ControllerCallback",
    "WorkerGroupCallback",
    "WorkerCallback",
    "after_controller_start",
    "before_worker_group_start",
    "after_worker_group_training_start",
    "before_worker_shutdown",
)
CALLBACK_END_HOOKS: Annotated[
    tuple[str, ...],
    Names(
        "Hooks by which ours hears of a run's end.",
        since="2.55",
        files=("ray/train/v2/_internal/execution/callback.py",),
    ),
] = ("after_controller_finish", "before_controller_abort")

# Tables of the GCS, and private API of the driver

RAYLET_NAMES: Annotated[
    tuple[str, ...], Texts("Classes of Ray's compiled module.", files=(_RAYLET,))
] = ("GcsClientOptions", "GlobalStateAccessor", "GcsClient", "PythonFunctionDescriptor", "JobID")
TOKEN_NAMES: Annotated[
    tuple[str, ...],
    Texts("By these a process switches token authentication.", since="2.52", files=(_RAYLET,)),
] = ("AuthenticationTokenLoader", "reset_cache", "has_token", "InvalidAuthToken")
ACCESSOR_METHODS: Annotated[
    tuple[str, ...], Texts("Reads of `GlobalStateAccessor` and `GcsClient`.", files=(_RAYLET,))
] = (
    "get_job_table",
    "get_actor_table",
    "get_node_table",
    "get_worker_table",
    "get_all_available_resources",
    "get_placement_group_table",
    "internal_kv_get",
    "get_all_node_info",
)
NODE_KEYS: Annotated[
    tuple[str, ...], Texts("Keys of a row of the node table.", files=(_RAYLET,))
] = (
    "NodeID",
    "NodeManagerAddress",
    "NodeManagerHostname",
    "NodeManagerPort",
    "Alive",
    "Resources",
)
HANDLE_NAMES: Annotated[
    tuple[str, ...],
    Names(
        "A handle of another job's actor is forged by these.",
        files=("ray/_private/worker.py", "ray/_private/function_manager.py", "ray/actor.py"),
    ),
] = (
    "function_actor_manager",
    "_loaded_actor_classes",
    "core_worker",
    "global_worker",
    "__ray_call__",
)
REGISTER_HANDLE: Annotated[str, Texts("It takes the forged handle.", files=(_RAYLET,))] = (
    "deserialize_and_register_actor_handle"
)
PRINT_FUNCTION: Annotated[Function, Functions("Prints the cluster's warnings.")] = (
    "print_to_stdstream",
    WORKER_FILE,
)
OWN_IP_FUNCTION: Annotated[
    str,
    Names("Warns where there is no network.", files=("ray/_private/services.py",)),
] = "node_ip_address_from_perspective"
CHANNEL: Annotated[
    Function,
    Functions("Opens a gRPC channel to the GCS.", since="2.52.1", verified=("2.60.0",)),
] = ("init_grpc_channel", "ray/_private/grpc_utils.py")
PARSE_RUNTIME_ENV: Annotated[Function, Functions("Reads `ray job submit`'s options.")] = (
    "parse_runtime_env_args",
    "ray/dashboard/modules/dashboard_sdk.py",
)
VERSION_MISMATCH: Annotated[
    str, Texts("How Ray refuses another version.", files=("ray/_private/utils.py",))
] = "ersion mismatch"
INTERNAL_PREFIX: Annotated[
    str,
    Texts(
        "How Ray's own keys begin.",
        files=("ray/_private/ray_constants.py", "ray/dashboard/modules/job/job_head.py"),
    ),
] = "_ray_internal_"
JOB_INFO_KEY: Annotated[
    str, Texts("Key of a submitted job's state.", files=("ray/dashboard/modules/job/common.py",))
] = "job_info_"
JOB_ID_METADATA: Annotated[
    str, Texts("A driver's submission id.", files=("ray/dashboard/modules/job/common.py",))
] = "job_submission_id"
JOB_LOG_TAIL: Annotated[
    str,
    Texts(
        "Parts the job manager's message.", files=("ray/dashboard/modules/job/job_supervisor.py",)
    ),
] = "last available logs"
CLUSTER_METADATA: Annotated[
    str,
    Texts(
        "Key of the cluster's versions.",
        files=("ray/_common/usage/usage_constants.py", "ray/_private/usage/usage_constants.py"),
    ),
] = "CLUSTER_METADATA"
CLUSTER_VERSIONS: Annotated[
    tuple[str, ...],
    Texts(
        "Its versions.",
        files=("ray/_common/usage/usage_lib.py", "ray/_private/usage/usage_lib.py"),
    ),
] = ("ray_version", "python_version")
MESSAGES: Annotated[
    dict[str, tuple[str, ...]],
    Fields("What is read of the GCS's tables."),
] = {
    "ray.rpc.JobTableData": (
        "job_id",
        "config",
        "entrypoint",
        "driver_pid",
        "driver_address",
        "is_dead",
        "start_time",
        "end_time",
    ),
    "ray.rpc.JobConfig": ("metadata", "runtime_env_info", "ray_namespace"),
    "ray.rpc.ActorTableData": (
        "actor_id",
        "parent_id",
        "job_id",
        "class_name",
        "function_descriptor",
        "state",
        "pid",
        "address",
        "owner_address",
        "placement_group_id",
        "resource_mapping",
        "serialized_runtime_env",
        "start_time",
        "death_cause",
        "ray_namespace",
        "name",
    ),
    "ray.rpc.ActorHandle": (
        "actor_id",
        "owner_id",
        "owner_address",
        "creation_job_id",
        "actor_language",
        "actor_creation_task_function_descriptor",
        "ray_namespace",
        "name",
        "max_pending_calls",
        "enable_task_events",
    ),
    "ray.rpc.Address": ("ip_address", "worker_id"),
    "ray.rpc.WorkerTableData": (
        "worker_address",
        "pid",
        "is_alive",
        "exit_type",
        "exit_detail",
        "end_time_ms",
        "start_time_ms",
        "worker_launch_time_ms",
    ),
    "ray.rpc.AvailableResources": ("resources_available",),
    "ray.rpc.PlacementGroupTableData": (
        "placement_group_id",
        "creator_job_id",
        "state",
        "strategy",
        "bundles",
        "stats",
    ),
    "ray.rpc.PlacementGroupStats": (
        "creation_request_received_ns",
        "end_to_end_creation_latency_us",
    ),
    "ray.rpc.TaskEvents": ("task_id", "task_info", "state_updates", "profile_events"),
    "ray.rpc.TaskInfoEntry": ("name", "type", "actor_id", "parent_task_id"),
    "ray.rpc.TaskStateUpdate": ("state_ts_ns",),
    "ray.rpc.GetAllWorkerInfoRequest": ("limit", "filters"),
    "ray.rpc.GetNodeStatsReply": ("store_stats",),
    "ray.rpc.ObjectStoreStats": (
        "cumulative_created_bytes",
        "spilled_bytes_total",
        "spill_time_total_s",
        "restore_time_total_s",
    ),
}
TASK_FILTERS: Annotated[
    dict[str, tuple[str, ...]],
    Fields("By these a job's tasks are chosen at the source.", since="2.41"),
] = {"ray.rpc.GetTaskEventsRequest.Filters": ("job_filters", "task_name_filters")}
ADDRESS_NODE: Annotated[
    dict[str, tuple[str, ...]],
    Fields(
        "The node of an address; `raylet_id` until 2.48.",
        since="2.49",
    ),
] = {"ray.rpc.Address": ("node_id",)}
SESSION_DIR: Annotated[
    dict[str, tuple[str, ...]],
    Fields(
        "The folder of a node's logs; without it no log is found.",
        since="2.55",
        verified=("2.60.0",),
    ),
] = {"ray.rpc.GcsNodeInfo": ("session_dir",)}
