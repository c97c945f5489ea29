"""Methods that are wrapped in a rank, or in a process whose start is recorded."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.ray.files import RAYLET_MODULE, TORCH_BACKEND_FILE
from dsray_inspect.agent.compat.rows import (
    Function,
    Functions,
    Method,
    Methods,
    Modules,
    Names,
    Texts,
)

# Methods that are timed in a rank

REPORT_V2: Annotated[
    Method,
    Methods(
        "`ray.train.report` of V2.",
        since="2.41",
    ),
] = ("ray.train.v2._internal.execution.context", "TrainContext", "report")
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
SERIALIZED_BYTES: Annotated[
    str, Texts("The size of a serialized object.", files=(RAYLET_MODULE,))
] = "total_bytes"

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
    Functions("Ray Train's list of callbacks takes ours.", since="2.48"),
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
