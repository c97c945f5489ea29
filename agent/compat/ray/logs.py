"""Log files, and the controller's messages in them."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.ray.files import V2_GROUP_FILE, V2_LOGGING_FILE
from dsray_inspect.agent.compat.rows import Convention, Names, Texts

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
    str, Texts("Lists pid and rank of each worker.", since="2.45", files=(V2_GROUP_FILE,))
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
MEMORY_EXCEEDED: Annotated[
    str,
    Convention("What the memory monitor measured: used, threshold, its share, limit; a pattern."),
] = r"Memory usage (\d+)B exceeded threshold of (\d+)B \(([\d.]+)% of (\d+)B limit\)"
OLDER_MEMORY_EXCEEDED: Annotated[
    str, Convention("The same in older versions: used, limit, share, and the threshold's share.")
] = (
    r"was ([\d.]+)GB / ([\d.]+)GB \(([\d.]+)\), "
    r"which exceeds the memory usage threshold of (\d+(?:\.\d+)?)"
)
RETRY_DECISION: Annotated[
    str,
    Texts(
        "It starts the worker group again.",
        since="2.49",
        files=("ray/train/v2/_internal/execution/failure_handling/failure_policy.py",),
    ),
] = "RETRY"
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
