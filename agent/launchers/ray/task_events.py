"""What Ray's GCS keeps of how a run came to be: task events, process times, submission.

Task events are asked for by gRPC, because only there they can be filtered and bounded at the
source: `RayTrainWorker.poll_status`, a task every 2 s for each rank, outnumbers all others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.launchers.ray.records import (
    ProcessTimes,
    TaskHistory,
    TaskRow,
    TaskSpan,
)
from dsray_inspect.agent.launchers.start import StoreTotals

_POLLS = f"{shelf.WORKER_CLASS}.{shelf.POLL_TASK}"
_CREATE_CONTROLLER = f"{shelf.CONTROLLER_CLASS}.{shelf.CREATE_TASK}"
CREATE_WORKER = f"{shelf.WORKER_CLASS}.{shelf.CREATE_TASK}"
INIT_CONTEXT = f"{shelf.WORKER_CLASS}.{shelf.CONTEXT_TASK}"
JOIN_GROUP = f"{shelf.EXECUTE_TASK}.{shelf.SETUP_TORCH[0]}"
START_TRAINING = f"{shelf.WORKER_CLASS}.{shelf.TRAIN_TASK}"
_START = (_CREATE_CONTROLLER, CREATE_WORKER, INIT_CONTEXT, JOIN_GROUP, START_TRAINING)
"""Enough to rebuild a start, where all tasks of a job are too many."""
_MAX_TASKS = 10_000
_MAX_PROCESSES = 10_000
_MAX_NODES = 32
CALL_S = 3.0
_STORE_S = 1.0
_NEVER_MS = 2**63
"""Times that were never set come as 2^64-1."""


def read_history(address: str, job_id: str, nodes: Sequence[NodeHandle] = ()) -> TaskHistory:
    """Return a job's tasks, its cluster's processes and its nodes' object stores, as far as kept.

    Never raises: what cannot be read is said in `why`.
    """
    try:
        with channel(address) as open_channel:
            tasks, left_out = _read_tasks(open_channel, job_id)
            return TaskHistory(
                tasks=tuple(tasks),
                processes=_read_processes(open_channel),
                stores=_read_stores(nodes),
                left_out=left_out,
            )
    except Exception as error:
        why = f"Ray's task events cannot be read: {type(error).__name__}: {error}"
        return TaskHistory(why=" ".join(why.split())[:200])


@contextlib.contextmanager
def channel(address: str) -> Iterator[Any]:
    try:
        from ray._private.grpc_utils import init_grpc_channel
    except ModuleNotFoundError:
        from ray._private.utils import init_grpc_channel  # type: ignore[attr-defined, no-redef]

    opened = init_grpc_channel(address, options=(("grpc.enable_http_proxy", 0),))

    try:
        yield opened
    finally:
        opened.close()


def _read_tasks(open_channel: Any, job_id: str) -> tuple[list[TaskRow], int]:
    """Return a job's tasks, and how many were not sent; those of the start come first."""
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    stub = gcs_service_pb2_grpc.TaskInfoGcsServiceStub(open_channel)

    def ask(name: str, predicate: str) -> Any:
        filters = gcs_service_pb2.GetTaskEventsRequest.Filters()
        equal = gcs_service_pb2.FilterPredicate.Value("EQUAL")
        filters.job_filters.add(job_id=bytes.fromhex(job_id), predicate=equal)
        chosen = gcs_service_pb2.FilterPredicate.Value(predicate)
        filters.task_name_filters.add(task_name=name, predicate=chosen)
        request = gcs_service_pb2.GetTaskEventsRequest(limit=_MAX_TASKS, filters=filters)
        return stub.GetTaskEvents(request, timeout=CALL_S)

    reply = ask(_POLLS, "NOT_EQUAL")

    if not reply.num_truncated:
        return [_task_row(task) for task in reply.events_by_task], 0

    replies = [ask(name, "EQUAL") for name in _START]
    left_out = reply.num_truncated + len(reply.events_by_task)
    return [_task_row(task) for reply in replies for task in reply.events_by_task], left_out


def _read_processes(open_channel: Any) -> dict[str, ProcessTimes]:
    """Return when each living worker process was launched and registered, by worker id."""
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    stub = gcs_service_pb2_grpc.WorkerInfoGcsServiceStub(open_channel)
    request = gcs_service_pb2.GetAllWorkerInfoRequest(
        limit=_MAX_PROCESSES,
        filters=gcs_service_pb2.GetAllWorkerInfoRequest.Filters(is_alive=True),
    )
    reply = stub.GetAllWorkerInfo(request, timeout=CALL_S)
    return {
        row.worker_address.worker_id.hex(): ProcessTimes(
            launched_ns=row.worker_launch_time_ms * 1_000_000,
            registered_ns=row.start_time_ms * 1_000_000,
        )
        for row in reply.worker_table_data
        if 0 < row.worker_launch_time_ms < _NEVER_MS
    }


def _read_stores(nodes: Sequence[NodeHandle]) -> StoreTotals | None:
    """Return the sums of the nodes' object stores; None where one does not tell in time."""
    from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc

    request = node_manager_pb2.GetNodeStatsRequest(include_memory_info=False)

    with contextlib.ExitStack() as stack:
        stubs = [
            node_manager_pb2_grpc.NodeManagerServiceStub(
                stack.enter_context(channel(f"{node.ip}:{node.port}"))
            )
            for node in nodes[:_MAX_NODES]
        ]
        calls = [stub.GetNodeStats.future(request, timeout=_STORE_S) for stub in stubs]

        try:
            stats = [call.result().store_stats for call in calls]
        except Exception:
            return None

    if not stats or len(nodes) > _MAX_NODES:
        return None

    return StoreTotals(
        created_bytes=sum(store.cumulative_created_bytes for store in stats),
        spilled_bytes=sum(store.spilled_bytes_total for store in stats),
        spill_s=sum(store.spill_time_total_s + store.restore_time_total_s for store in stats),
    )


def _task_row(message: Any) -> TaskRow:
    from ray.core.generated import common_pb2

    info, updates = message.task_info, message.state_updates
    return TaskRow(
        name=info.name,
        is_creation=info.type == common_pb2.TaskType.Value("ACTOR_CREATION_TASK"),
        actor_id=info.actor_id.hex(),
        parent_task_id=info.parent_task_id.hex(),
        task_id=message.task_id.hex(),
        states_ns={
            common_pb2.TaskStatus.Name(status): at_ns
            for status, at_ns in updates.state_ts_ns.items()
        },
        spans=tuple(
            TaskSpan(name=event.event_name, start_ns=event.start_time, end_ns=event.end_time)
            for event in message.profile_events.events
            if event.event_name.startswith("task:") and not event.event_name.startswith("task::")
        ),
    )
