"""What ranks that wait for Ray Data wait for: their peers, a task, or actors without resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.detectors.detection import Place, place_of, rank_numbers
from dsray_inspect.agent.detectors.evidence.activity import Activity, between
from dsray_inspect.agent.detectors.evidence.holders import Shortage, shortages_of
from dsray_inspect.agent.detectors.evidence.rank_index import in_phase
from dsray_inspect.agent.handles import ProcessHandle, TaskHandle
from dsray_inspect.agent.model import Record
from dsray_inspect.agent.sampling.process_probe import StackDump
from dsray_inspect.agent.stacks.thread import Thread

LEAST_TASK_S = 10.0
"""A task that has run for less is at its work, for all that one can say."""


class PendingActors(Record, frozen=True, kw_only=True):
    """Actors of one operator that wait to be placed, in both samples."""

    name: str
    number: int
    needed: tuple[tuple[str, float], ...]
    """What one of them needs."""


class LongTask(Record, frozen=True, kw_only=True):
    """A task that still runs, and where."""

    name: str
    task_id: str
    pid: int
    hostname: str
    node_ip: str
    age_s: float
    place: Place | None
    activity: Activity | None

    @property
    def is_still(self) -> bool:
        return self.activity is not None and self.activity.is_still


class ShardWait(Record, frozen=True, kw_only=True):
    """A dataset shard that is handed out only once other ranks ask for theirs."""

    absent: tuple[int, ...]
    """The ranks that do not ask."""
    coordinator_pid: int | None
    """The process that keeps the barrier of an epoch; None for the first call of the shard."""


class InputPipeline(Record, frozen=True, kw_only=True):
    """The input of the ranks that wait for Ray Data."""

    ranks: tuple[int, ...]
    shard_wait: ShardWait | None
    pending: tuple[PendingActors, ...]
    shortages: tuple[Shortage, ...]
    """What the pending actors lack; nothing where they only start."""
    tasks: tuple[LongTask, ...]
    """Those of Ray Data, oldest first."""

    @property
    def is_at_fault(self) -> bool:
        """Whether what the ranks wait for is none of them."""
        return self.shard_wait is None and bool(self.shortages or self.tasks)


def in_ray_data(member: RankContext) -> bool:
    thread = member.training
    return thread is not None and thread.stack.in_ray_data


def input_pipeline(sample: AnalysisInput) -> InputPipeline | None:
    """Return what is known of the ranks' input, None where no rank waits for Ray Data."""
    waiting = [member for member in in_phase(sample, "data") if in_ray_data(member)]

    if not waiting:
        return None

    pending = tuple(_pending(sample))
    return InputPipeline(
        ranks=rank_numbers(member.worker for member in waiting),
        shard_wait=_shard_wait(sample, waiting),
        pending=pending,
        shortages=shortages_of(sample, _needed_by(pending)),
        tasks=tuple(_long_tasks(sample)),
    )


def _shard_wait(sample: AnalysisInput, waiting: Sequence[RankContext]) -> ShardWait | None:
    """Return whom the shard waits for, None unless ranks are elsewhere and it waits for them."""
    here = {id(member) for member in waiting}
    others = [member for member in sample.members if id(member) not in here]
    absent = rank_numbers(member.worker for member in others if member.worker.state == "alive")
    asks = any(member.training and member.training.stack.asks_for_shard for member in waiting)

    if not absent:
        return None

    if asks and 0 in absent:
        return ShardWait(absent=(0,), coordinator_pid=None)

    barriers = [row.pid for row in sample.observation.helpers if _is_at_barrier(sample, row)]
    return ShardWait(absent=absent, coordinator_pid=barriers[0]) if barriers else None


def _is_at_barrier(sample: AnalysisInput, row: ProcessHandle) -> bool:
    """Tell whether a coordinator holds ranks at the begin of an epoch."""
    stack = sample.observation.process(row.node_id, row.pid).stack
    return (
        row.class_name == ray.SPLIT_COORDINATOR
        and isinstance(stack, StackDump)
        and any(thread.stack.holds(*ray.EPOCH_BARRIER) for thread in stack.threads)
    )


def _pending(sample: AnalysisInput) -> Iterator[PendingActors]:
    if sample.earlier is None:
        return

    before = {row.actor_id for row in sample.earlier.observation.pending}
    alike: dict[tuple[str, tuple[tuple[str, float], ...]], int] = {}

    for row in sample.observation.pending:
        if row.actor_id in before:
            key = row.class_name, tuple(sorted(row.required.items()))
            alike[key] = alike.get(key, 0) + 1

    for (name, needed), number in alike.items():
        yield PendingActors(name=name, number=number, needed=needed)


def _long_tasks(sample: AnalysisInput) -> Iterator[LongTask]:
    """Yield the tasks of Ray Data that were seen in both samples and have run for long."""
    before = sample.earlier.observation if sample.earlier else None
    known = {task.task_id for task in (before.tasks if before else None) or ()}
    hosts = {node.node_id: node for node in sample.observation.nodes}

    for task in sample.observation.tasks or ():
        age_s = sample.snapshot.taken_at - task.started_at

        if task.task_id in known and age_s >= LEAST_TASK_S and _is_of_ray_data(sample, task):
            node = hosts.get(task.node_id)
            yield LongTask(
                name=task.name,
                task_id=task.task_id,
                pid=task.pid,
                hostname=(node.hostname or node.ip) if node else task.node_id[:8],
                node_ip=node.ip if node else "",
                age_s=age_s,
                place=_place_in(sample, task),
                activity=_activity(sample, task),
            )


def _is_of_ray_data(sample: AnalysisInput, task: TaskHandle) -> bool:
    """Tell whether Ray Data runs a task, by its stack: a job has other tasks too."""
    return any(thread.stack.in_ray_data for thread in _threads_of(sample, task))


def _threads_of(sample: AnalysisInput, task: TaskHandle) -> Sequence[Thread]:
    stack = sample.observation.process(task.node_id, task.pid).stack
    return stack.threads if isinstance(stack, StackDump) else ()


def _place_in(sample: AnalysisInput, task: TaskHandle) -> Place | None:
    """Return the user's line that a task is in."""
    mine = (thread.stack.user_function for thread in _threads_of(sample, task))
    found = next((function for function in mine if function is not None), None)
    return place_of(found) if found else None


def _activity(sample: AnalysisInput, task: TaskHandle) -> Activity | None:
    if sample.earlier is None:
        return None

    then, now = (
        observation.process(task.node_id, task.pid).counters
        for observation in (sample.earlier.observation, sample.observation)
    )
    apart_s = sample.snapshot.taken_at - sample.earlier.snapshot.taken_at
    return between(apart_s, (None, then), (None, now))


def _needed_by(pending: Sequence[PendingActors]) -> Mapping[str, float]:
    """Return what all of these actors need together."""
    needed: dict[str, float] = {}

    for actors in pending:
        for name, amount in actors.needed:
            needed[name] = needed.get(name, 0.0) + amount * actors.number

    return needed
