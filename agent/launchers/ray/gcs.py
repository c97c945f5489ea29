"""Rung 0: read Ray's tables from the GCS, without a driver and without the dashboard.

`GlobalStateAccessor` is private API of Ray (2.9 to 2.60 have it); messages are Ray's own
protobufs. A call takes 1 to 7 ms. The accessor aborts the whole process when the GCS does
not answer or asks for a token, so `launchers.ray.connect` must have succeeded before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.handles import (
    Bundle,
    JobHandle,
    NodeHandle,
    PlacementGroup,
    ProcessExit,
    ProcessHandle,
    Submission,
)
from dsray_inspect.agent.remote.redaction import redact_text

NIL_NODE = "f" * 56


class Gcs:
    """The tables of one cluster."""

    def __init__(self, address: str) -> None:
        from ray._raylet import GcsClientOptions, GlobalStateAccessor

        self.address = address
        options = GcsClientOptions.create(
            address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=True
        )
        self._accessor = GlobalStateAccessor(options)
        self._accessor.connect()

    def submission(self, submission_id: str) -> Submission | None:
        """Return how a submitted job stands with Ray's job manager, None where it is forgotten.

        Key and format: `JobInfoStorageClient` of Ray's dashboard.
        """
        from ray._raylet import GcsClient

        key = f"{shelf.INTERNAL_PREFIX}{shelf.JOB_INFO_KEY}{submission_id}".encode()
        raw = GcsClient(address=self.address).internal_kv_get(key, namespace=b"job", timeout=5)
        return submission_row(raw) if raw else None

    def jobs(self) -> list[JobHandle]:
        """Return every driver the cluster remembers, oldest first."""
        from ray.core.generated.gcs_pb2 import JobTableData

        rows = [job_row(JobTableData.FromString(raw)) for raw in self._accessor.get_job_table()]
        return sorted(rows, key=lambda row: row.job_id)

    def actors(self, job_id: str | None) -> list[ProcessHandle]:
        """Return every actor of a job, dead ones too; with None those of all jobs."""
        from ray._raylet import JobID
        from ray.core.generated.gcs_pb2 import ActorTableData

        job = None if job_id is None else JobID(bytes.fromhex(job_id))
        raws = self._accessor.get_actor_table(job, None)
        return [actor_row(ActorTableData.FromString(raw), raw) for raw in raws]

    def nodes(self) -> list[NodeHandle]:
        return [
            NodeHandle(
                node_id=node["NodeID"],
                ip=node["NodeManagerAddress"],
                hostname=node["NodeManagerHostname"],
                alive=bool(node["Alive"]),
                resources=dict(node["Resources"]),
                port=int(node.get("NodeManagerPort") or 0),
            )
            for node in self._accessor.get_node_table()
        ]

    def exits(self) -> dict[str, ProcessExit]:
        """Return how the worker processes ended that the cluster still remembers."""
        from ray.core.generated.gcs_pb2 import WorkerTableData

        messages = map(WorkerTableData.FromString, self._accessor.get_worker_table())
        rows = [exit_row(message) for message in messages if not message.is_alive]
        return {row.worker_id: row for row in rows}

    def session_dirs(self) -> dict[str, str]:
        """Return, by node, the folder that holds Ray's logs there; none where Ray does not tell.

        Where nodes have no folder of their own, Ray makes all of them use the head's.
        """
        from ray._raylet import GcsClient

        client = GcsClient(address=self.address)

        try:
            nodes = client.get_all_node_info(timeout=5)
            everywhere = client.internal_kv_get(
                shelf.SESSION_DIR_KEY.encode(),
                namespace=shelf.SESSION_NAMESPACE.encode(),
                timeout=5,
            )
        except Exception:
            return {}

        common = (everywhere or b"").decode("utf-8", "replace")
        folders = {
            node_id.hex(): getattr(node, "session_dir", common) for node_id, node in nodes.items()
        }
        return {node_id: folder for node_id, folder in folders.items() if folder}

    def available(self) -> dict[str, float]:
        """Return the free resources of the whole cluster, custom ones left out."""
        from ray.core.generated.gcs_pb2 import AvailableResources

        free: dict[str, float] = {}

        for raw in self._accessor.get_all_available_resources():
            for name, amount in AvailableResources.FromString(raw).resources_available.items():
                free[name] = free.get(name, 0.0) + amount

        return free

    def placement_groups(self) -> list[PlacementGroup]:
        """Return the placement groups of all jobs."""
        from ray.core.generated.gcs_pb2 import PlacementGroupTableData

        messages = map(
            PlacementGroupTableData.FromString, self._accessor.get_placement_group_table()
        )
        return [placement_group_row(message) for message in messages]


def submission_row(raw: bytes) -> Submission | None:
    try:
        info = json.loads(raw)
        message, _, tail = str(info.get("message") or "").partition(f", {shelf.JOB_LOG_TAIL}")
        lines = message.strip().splitlines() or [""]
        return Submission(
            status=str(info["status"]), message=redact_text(lines[0])[:200], tail=redact_text(tail)
        )
    except (ValueError, KeyError, AttributeError):
        return None


def node_of(address: Any) -> str:
    """Return the node of an address, which Ray's versions call by different names."""
    message = "ray.rpc.Address"
    names = (*shelf.ADDRESS_NODE[message], *shelf.OLDER_ADDRESS_NODE[message])
    ids: list[bytes] = [getattr(address, name) for name in names if hasattr(address, name)]
    return ids[0].hex() if ids else ""


def exit_row(message: Any) -> ProcessExit:
    return ProcessExit(
        worker_id=message.worker_address.worker_id.hex(),
        node_id=node_of(message.worker_address),
        pid=message.pid,
        kind=type(message)
        .DESCRIPTOR.fields_by_name["exit_type"]
        .enum_type.values_by_number[message.exit_type]
        .name,
        detail=redact_text(message.exit_detail),
        ended_at=message.end_time_ms / 1000 if message.end_time_ms else None,
    )


def job_row(message: Any) -> JobHandle:
    metadata = dict(message.config.metadata)
    runtime_env = message.config.runtime_env_info.serialized_runtime_env
    return JobHandle(
        job_id=message.job_id.hex(),
        submission_id=metadata.get(shelf.JOB_ID_METADATA),
        entrypoint=redact_text(message.entrypoint.strip()),
        namespace=message.config.ray_namespace,
        driver_pid=message.driver_pid,
        driver_ip=message.driver_address.ip_address,
        driver_node_id=node_of(message.driver_address),
        is_dead=message.is_dead,
        started_at=message.start_time / 1000,
        ended_at=message.end_time / 1000 if message.end_time else None,
        runtime_env_vars=env_vars(runtime_env),
    )


def actor_row(message: Any, raw: bytes) -> ProcessHandle:
    descriptor = message.function_descriptor.python_function_descriptor
    node_id = node_of(message.address)
    gpus = gpu_shares(message.resource_mapping)
    return ProcessHandle(
        actor_id=message.actor_id.hex(),
        job_id=message.job_id.hex(),
        name=message.name,
        class_name=message.class_name or descriptor.class_name,
        module=descriptor.module_name,
        state=message.ActorState.Name(message.state),
        pid=message.pid,
        node_id="" if node_id == NIL_NODE else node_id,
        node_ip=message.address.ip_address,
        worker_id=message.address.worker_id.hex(),
        owner_worker_id=message.owner_address.worker_id.hex(),
        placement_group_id=message.placement_group_id.hex() or None,
        gpu_slots=tuple(sorted(gpus)),
        gpu_share=min(gpus.values(), default=1.0),
        runtime_env_vars=env_vars(message.serialized_runtime_env),
        started_at=message.start_time / 1000,
        death_cause=death_cause(message.death_cause),
        required=dict(message.required_resources),
        raw=raw,
    )


def gpu_shares(mapping: Iterable[Any]) -> dict[int, float]:
    """Return the GPU indices Ray gave an actor, with its share of each.

    In a placement group the same slots appear as `GPU_group_<id>` and once more with the
    bundle's index in between; outside of one as `GPU`. The proto leaves index 0 out.
    """
    by_name = {entry.name: entry for entry in mapping if entry.name.startswith("GPU")}
    whole = [name for name in by_name if name == "GPU" or name.count("_") == 2]
    return {
        share.index: share.quantity
        for name in whole
        for share in by_name[name].resource_ids
        if share.quantity
    }


def env_vars(serialized_runtime_env: str) -> dict[str, str]:
    """Return the `env_vars` of a runtime environment."""
    try:
        found = json.loads(serialized_runtime_env or "{}").get("env_vars")
    except (ValueError, AttributeError):
        return {}

    return {str(name): str(value) for name, value in (found or {}).items()}


def death_cause(message: Any) -> str:
    """Return Ray's own words on why an actor died, "" while it lives."""
    kind = message.WhichOneof("context")

    if kind is None:
        return ""

    context = getattr(message, kind)
    return redact_text(str(getattr(context, "error_message", "") or kind))


def placement_group_row(message: Any) -> PlacementGroup:
    return PlacementGroup(
        placement_group_id=message.placement_group_id.hex(),
        name=message.name,
        job_id=message.creator_job_id.hex(),
        state=message.PlacementGroupState.Name(message.state),
        strategy=str(message.strategy),
        bundles=tuple(
            Bundle(
                resources=dict(bundle.unit_resources),
                node_id=bundle.node_id.hex() or None,
            )
            for bundle in message.bundles
        ),
        requested_ns=message.stats.creation_request_received_ns,
        created_ns=message.stats.creation_request_received_ns
        + message.stats.end_to_end_creation_latency_us * 1000
        if message.stats.end_to_end_creation_latency_us
        else None,
    )
