"""Tables of the GCS, and private API of the driver."""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.ray.files import RAYLET_MODULE, WORKER_FILE
from dsray_inspect.agent.compat.rows import Fields, Function, Functions, Names, Texts

RAYLET_NAMES: Annotated[
    tuple[str, ...], Texts("Classes of Ray's compiled module.", files=(RAYLET_MODULE,))
] = ("GcsClientOptions", "GlobalStateAccessor", "GcsClient", "PythonFunctionDescriptor", "JobID")
TOKEN_NAMES: Annotated[
    tuple[str, ...],
    Texts(
        "By these a process switches token authentication.", since="2.52", files=(RAYLET_MODULE,)
    ),
] = ("AuthenticationTokenLoader", "reset_cache", "has_token", "InvalidAuthToken")
ACCESSOR_METHODS: Annotated[
    tuple[str, ...],
    Texts("Reads of `GlobalStateAccessor` and `GcsClient`.", files=(RAYLET_MODULE,)),
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
    tuple[str, ...], Texts("Keys of a row of the node table.", files=(RAYLET_MODULE,))
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
REGISTER_HANDLE: Annotated[str, Texts("It takes the forged handle.", files=(RAYLET_MODULE,))] = (
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
OLDER_CHANNEL: Annotated[
    Function,
    Functions("The same in older versions.", until="2.52.0", verified=("2.46.0", "2.44.1")),
] = ("init_grpc_channel", "ray/_private/utils.py")
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
        "required_resources",
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
        "name",
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
    "ray.rpc.TaskInfoEntry": (
        "name",
        "type",
        "actor_id",
        "parent_task_id",
        "job_id",
        "required_resources",
        "placement_group_id",
    ),
    "ray.rpc.TaskStateUpdate": ("state_ts_ns", "node_id", "worker_pid"),
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
RUNNING_FILTERS: Annotated[
    dict[str, tuple[str, ...]],
    Fields("By these the running tasks are chosen; without them none is read.", since="2.41"),
] = {"ray.rpc.GetTaskEventsRequest.Filters": ("state_filters", "exclude_driver")}
ADDRESS_NODE: Annotated[
    dict[str, tuple[str, ...]],
    Fields(
        "The node of an address.",
        since="2.49",
    ),
] = {"ray.rpc.Address": ("node_id",)}
OLDER_ADDRESS_NODE: Annotated[
    dict[str, tuple[str, ...]],
    Fields("The same in older versions.", until="2.48", verified=("2.46.0", "2.44.1")),
] = {"ray.rpc.Address": ("raylet_id",)}
SESSION_DIR: Annotated[
    dict[str, tuple[str, ...]],
    Fields(
        "The folder that a node's logs are in.",
        since="2.55",
        verified=("2.60.0",),
    ),
] = {"ray.rpc.GcsNodeInfo": ("session_dir",)}
SESSION_DIR_KEY: Annotated[
    str,
    Texts(
        "Key of the folder that all nodes' logs are in, where nodes have none of their own.",
        until="2.55",
        verified=("2.46.0", "2.44.1"),
        files=("ray/_private/node.py",),
    ),
] = "session_dir"
SESSION_NAMESPACE: Annotated[
    str,
    Texts("The namespace of that key.", files=("ray/_private/ray_constants.py",)),
] = "session"
