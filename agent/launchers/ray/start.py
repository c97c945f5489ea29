"""A run's start from Ray's tables and task events, or from the controller's log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.handles import JobHandle, RunHandle
from dsray_inspect.agent.launchers.ray.gcs import Gcs
from dsray_inspect.agent.launchers.ray.milestones import ASKED, ENDED, from_history, state
from dsray_inspect.agent.launchers.ray.records import TaskHistory, TaskRow
from dsray_inspect.agent.launchers.ray.task_events import (
    CREATE_WORKER,
    INIT_CONTEXT,
    JOIN_GROUP,
    START_TRAINING,
    read_history,
)
from dsray_inspect.agent.launchers.start import S, Serialization, StartFacts, StartSpan


def read_start(gcs: Gcs, job: JobHandle, run: RunHandle) -> StartFacts:
    """Return what Ray still keeps of how a run's present worker group started."""
    on = {process.node_id for process in run.workers}
    nodes = [node for node in gcs.nodes() if node.alive and node.node_id in on]
    history = read_history(gcs.address, job.job_id, nodes)
    groups = [group for group in gcs.placement_groups() if group.job_id == job.job_id]
    marks = from_history(history, run, groups)
    return msgspec.structs.replace(facts_of(history, run), marks=marks)


def facts_of(history: TaskHistory, run: RunHandle) -> StartFacts:
    """Return what the task events say, but for the moments."""
    return StartFacts(
        spans={
            process.actor_id: tuple(rank_spans(history, process.actor_id, process.worker_id))
            for process in run.workers
        },
        serialization=serialization(history),
        stores=history.stores,
        why=history.why,
    )


def serialization(history: TaskHistory) -> Serialization | None:
    """Return what all tasks took to unpickle and to store; None where none is remembered."""
    spans = [
        span
        for task in history.tasks
        for span in task.spans
        if span.name in (ray.UNPICKLE_SPAN, ray.STORE_SPAN) and task.name != INIT_CONTEXT
    ]

    if not spans:
        return None

    total_ns = sum(span.end_ns - span.start_ns for span in spans)
    return Serialization(seconds=total_ns / S, tasks=len(history.tasks))


def rank_spans(history: TaskHistory, actor_id: str, worker_id: str) -> Iterator[StartSpan]:
    """Yield an actor's creation and what it was spent on, then rendezvous and training."""
    tasks = {task.name: task for task in history.tasks if task.actor_id == actor_id}
    yield from creation(tasks, history, worker_id)
    join, begun = tasks.get(JOIN_GROUP), tasks.get(START_TRAINING)

    if (start_ns := state(join, ray.TASK_RUNNING_STATE)) is not None:
        end_ns = state(join, *ENDED)
        yield StartSpan(name="rendezvous", start_ns=start_ns, end_ns=end_ns)

    if (start_ns := state(begun, ray.TASK_RUNNING_STATE)) is not None:
        yield StartSpan(name="train_func", start_ns=start_ns, end_ns=None)


def creation(
    tasks: Mapping[str, TaskRow], history: TaskHistory, worker_id: str
) -> Iterator[StartSpan]:
    made = tasks.get(CREATE_WORKER)
    asked_ns, running_ns = state(made, *ASKED), state(made, ray.TASK_RUNNING_STATE)
    created_ns = state(made, *ENDED)
    process = history.processes.get(worker_id)

    if asked_ns is None:
        return

    yield StartSpan(name="actor_creation", start_ns=asked_ns, end_ns=created_ns)

    if process is not None:
        launched_ns = process.launched_ns
        yield StartSpan(name="actor_scheduling", start_ns=asked_ns, end_ns=launched_ns)
        yield StartSpan(name="process_spawn", start_ns=launched_ns, end_ns=running_ns)

    if running_ns is not None:
        yield StartSpan(name="imports", start_ns=running_ns, end_ns=created_ns)

    join_ns = state(tasks.get(JOIN_GROUP), ray.TASK_RUNNING_STATE) or state(
        tasks.get(START_TRAINING), ray.TASK_RUNNING_STATE
    )

    if created_ns is not None:
        yield StartSpan(name="ranks_and_env", start_ns=created_ns, end_ns=join_ns)

    context = tasks.get(INIT_CONTEXT)
    found = context.span(ray.UNPICKLE_SPAN) if context else None

    if found is not None:
        yield StartSpan(
            name="imports",
            start_ns=found.start_ns,
            end_ns=found.end_ns,
            target="the training function",
        )
