"""Actors and tasks: their classes, names and states."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.ray.files import (
    RAYLET_MODULE,
    SPLIT_FILE,
    V1_WORKER_FILE,
    V2_CONTROLLER_FILE,
    V2_WORKER_FILE,
)
from dsray_inspect.agent.compat.rows import EnumValues, Modules, Names, Texts

SPLIT_COORDINATOR: Annotated[
    str, Texts("The actor that splits a dataset among the ranks.", files=(SPLIT_FILE,))
] = "SplitCoordinator"
MAP_WORKER: Annotated[
    str,
    Texts(
        "How the tasks of an operator's actors begin.",
        files=("ray/data/_internal/execution/operators/actor_pool_map_operator.py",),
    ),
] = "MapWorker("
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
ANSWERING_CONTROLLER: Annotated[
    str,
    Texts(
        "The controller is a coroutine, so it answers calls while its run goes on.",
        since="2.48",
        files=(V2_CONTROLLER_FILE,),
        verified=("2.60.0", "2.49.2"),
    ),
] = "async def run("
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
    str, Texts("The part of a task that unpickles its arguments.", files=(RAYLET_MODULE,))
] = "task:deserialize_arguments"
STORE_SPAN: Annotated[str, Texts("The part that stores its results.", files=(RAYLET_MODULE,))] = (
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
