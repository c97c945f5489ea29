"""The tasks that run now: what each is called, in which process, and what it holds."""

from __future__ import annotations

import time
from typing import Any

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.handles import TaskHandle
from dsray_inspect.agent.launchers.ray.task_events import CALL_S, channel

MAX_RUNNING = 1_000


def running_tasks(address: str) -> list[TaskHandle] | None:
    """Return the tasks of all jobs that run, the oldest first.

    Of actors only those of Ray Data's operators are listed: others wait for orders in their tasks.
    None where this Ray cannot choose them at the source, or does not answer.
    """
    try:
        with channel(address) as opened:
            return sorted(_ask(opened), key=lambda row: row.started_at)
    except Exception:
        return None


def _ask(opened: Any) -> list[TaskHandle]:
    from ray.core.generated import common_pb2, gcs_service_pb2, gcs_service_pb2_grpc

    stub = gcs_service_pb2_grpc.TaskInfoGcsServiceStub(opened)
    filters = gcs_service_pb2.GetTaskEventsRequest.Filters(exclude_driver=True)
    equal = gcs_service_pb2.FilterPredicate.Value("EQUAL")
    filters.state_filters.add(state=shelf.TASK_RUNNING_STATE, predicate=equal)
    request = gcs_service_pb2.GetTaskEventsRequest(limit=MAX_RUNNING, filters=filters)
    reply = stub.GetTaskEvents(request, timeout=CALL_S)
    running = common_pb2.TaskStatus.Value(shelf.TASK_RUNNING_STATE)
    normal = common_pb2.TaskType.Value("NORMAL_TASK")
    return [
        running_task(message, running)
        for message in reply.events_by_task
        if message.task_info.type == normal or message.task_info.name.startswith(shelf.MAP_WORKER)
    ]


def running_task(message: Any, running: int) -> TaskHandle:
    info, updates = message.task_info, message.state_updates
    started_ns = dict(updates.state_ts_ns).get(running, 0)
    return TaskHandle(
        task_id=message.task_id.hex(),
        name=info.name,
        job_id=info.job_id.hex() or message.job_id.hex(),
        node_id=updates.node_id.hex(),
        pid=updates.worker_pid,
        started_at=started_ns / 1e9 or time.time(),
        actor_id=info.actor_id.hex() if any(info.actor_id.strip(b"\xff")) else "",
        required=dict(info.required_resources),
        placement_group_id=info.placement_group_id.hex() or None,
    )
