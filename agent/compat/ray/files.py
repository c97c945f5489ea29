"""Files and folders of Ray, and the layer that frames in them have."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.rows import Convention, FilePatterns, Files, Modules, Texts

RAY_FOLDER: Annotated[str, Files("Frames below it have the layer `ray`.")] = "ray/"
TRAIN_FOLDER: Annotated[str, Files("Frames below it have the layer `ray_train`.")] = "ray/train/"
DATA_FOLDER: Annotated[str, Files("A rank below it waits for Ray Data.")] = "ray/data/"
SPLIT_FILE: Annotated[str, Files("Splits a dataset among the ranks.")] = (
    "ray/data/_internal/iterator/stream_split_iterator.py"
)
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
RAYLET_MODULE: Annotated[str, Files("Ray's compiled module.")] = "ray/_raylet.so"

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
