"""The samples of one run: its newest snapshot and what has added up, as values of the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import get_args

from dsray_inspect.agent.model import (
    CAUSES,
    OK,
    Node,
    Severity,
    Snapshot,
    VerdictState,
    Worker,
    WorkerState,
)
from dsray_inspect.exporters import metrics as m
from dsray_inspect.exporters.run_counters import RunCounters

Labels = tuple[str, ...]
Sample = tuple[m.Metric, Labels, float]
"""A metric, the values of its labels in its order, and the value."""

VERDICTS: tuple[VerdictState, ...] = get_args(VerdictState)
STATES: tuple[WorkerState, ...] = get_args(WorkerState)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


def samples_of(snapshot: Snapshot, tally: RunCounters) -> Iterator[Sample]:
    """Yield every sample that a look gives."""
    for node in snapshot.nodes:
        yield from node_samples(node)

    if not tally.run_id:
        return

    yield from run_samples(snapshot, tally)
    yield from finding_samples(snapshot, tally)
    yield from startup_samples(snapshot, tally.run_id)

    for worker in snapshot.workers:
        rank = tally.rank_of(worker)

        if rank is not None:
            key = (tally.run_id, str(rank))
            yield from place_samples(worker, key)
            yield from state_samples(worker, key, snapshot.taken_at)
            yield from tally_samples(tally, rank, key)
            yield from collective_samples(worker, key, snapshot.taken_at)


def run_samples(snapshot: Snapshot, tally: RunCounters) -> Iterator[Sample]:
    run, run_id = snapshot.run, tally.run_id
    versions = next((one.versions for one in snapshot.workers if one.versions), {})
    engine = next((one.deepspeed for one in snapshot.workers if one.deepspeed), None)
    yield (
        m.RUN_INFO,
        (
            run_id,
            (run.name or "") if run else "",
            (run.attempt or "") if run else "",
            snapshot.job.job_id,
            snapshot.job.submission_id or "",
            versions.get("ray", ""),
            engine.version if engine else versions.get("deepspeed", ""),
            versions.get("torch", ""),
            str(engine.zero_stage) if engine else "",
            engine.dtype if engine else "",
        ),
        1,
    )
    yield m.RUN_RANKS, (run_id,), len(snapshot.workers)
    yield m.RUN_RESTARTS, (run_id,), tally.restarts

    if run is not None:
        yield m.RUN_STATE, (run_id, run.state), 1

    for state in VERDICTS:
        yield m.VERDICT, (run_id, state), state == snapshot.verdict.state

    below = 0

    for end, below in tally.durations.cumulated():
        yield m.STEP_DURATION, (run_id, end), below

    yield m.STEP_DURATION, (run_id, "count"), below
    yield m.STEP_DURATION, (run_id, "sum"), tally.durations.sum_s


def finding_samples(snapshot: Snapshot, tally: RunCounters) -> Iterator[Sample]:
    counts = Counter((one.cause, one.severity) for one in snapshot.findings)

    for cause in CAUSES:
        for severity in SEVERITIES:
            yield m.FINDINGS, (tally.run_id, cause, severity), counts[cause, severity]

    for cause, rank in sorted({(one.cause, r) for one in snapshot.findings for r in one.ranks}):
        yield m.RANK_CULPRIT, (tally.run_id, str(rank), cause), 1


def startup_samples(snapshot: Snapshot, run_id: str) -> Iterator[Sample]:
    """Yield how long the start took, and what everything has cost."""
    for part in snapshot.startup.parts if snapshot.startup else ():
        yield m.STARTUP, (run_id, part.name), part.seconds

    for cost in snapshot.costs:
        if cost.seconds is not None:
            yield m.COST, (run_id, cost.name), cost.seconds

    slowest: dict[str, float] = {}

    for worker in snapshot.workers:
        for phase in worker.deepspeed.init if worker.deepspeed else ():
            slowest[phase.phase] = max(slowest.get(phase.phase, 0.0), phase.seconds)

    for name, seconds in slowest.items():
        yield m.DEEPSPEED_INIT, (run_id, name), seconds


def place_samples(worker: Worker, key: Labels) -> Iterator[Sample]:
    """Yield where a rank runs."""
    yield (
        m.RANK_INFO,
        (
            *key,
            text(worker.local_rank),
            text(worker.node_rank),
            str(worker.pid),
            worker.node_ip,
            worker.hostname,
            (worker.gpus[0].uuid or "") if worker.gpus else "",
            worker.node_id,
            worker.actor_id,
        ),
        1,
    )

    for gpu in worker.gpus:
        yield m.RANK_GPU_INFO, (*key, gpu.uuid or "", str(gpu.slot)), 1


def state_samples(worker: Worker, key: Labels, taken_at: float) -> Iterator[Sample]:
    """Yield what a rank is in."""
    for state in STATES:
        yield m.RANK_STATE, (*key, state), state == worker.state

    yield m.RANK_PHASE, (*key, worker.phase), 1
    yield m.RANK_SEEN, key, worker.evidence.stack == OK

    if worker.idle_s is not None:
        yield m.RANK_LAST_MOVED, key, taken_at - worker.idle_s

    if worker.rss_bytes is not None:
        yield m.RANK_MEMORY, key, worker.rss_bytes


def tally_samples(tally: RunCounters, rank: int, key: Labels) -> Iterator[Sample]:
    """Yield what has added up for a rank."""
    one = tally.ranks.get(rank)

    if one is None:
        return

    yield m.RANK_PAUSED, key, one.paused_s
    yield m.STEPS, key, one.steps
    yield m.WAIT_SECONDS, key, one.wait_s

    if one.step is not None:
        yield m.STEP, key, one.step

    if one.last_step_at is not None:
        yield m.LAST_STEP, key, one.last_step_at

    for phase, seconds in one.phase_s.items():
        yield m.PHASE_SECONDS, (*key, phase), seconds


def collective_samples(worker: Worker, key: Labels, taken_at: float) -> Iterator[Sample]:
    if worker.evidence.collectives != OK:
        return

    ages = [one.age_s for one in worker.collectives if not one.finished]
    yield m.PENDING, key, len(ages)

    if ages:
        yield m.PENDING_SINCE, key, taken_at - max(ages)


def node_samples(node: Node) -> Iterator[Sample]:
    key = (node.hostname or node.ip, node.node_id)
    yield m.NODE_ALIVE, key, node.alive

    if node.agent.state != "absent":
        yield m.AGENT_UP, key, node.agent.state != "failed"

    for gpu in node.gpus:
        yield m.GPU_INFO, (gpu.uuid, str(gpu.index), gpu.name, *key), 1

        if gpu.utilization is not None:
            yield m.GPU_UTILIZATION, (gpu.uuid,), gpu.utilization

        if gpu.memory_used_bytes is not None:
            yield m.GPU_MEMORY_USED, (gpu.uuid,), gpu.memory_used_bytes

        if gpu.memory_total_bytes is not None:
            yield m.GPU_MEMORY_LIMIT, (gpu.uuid,), gpu.memory_total_bytes


def text(number: int | None) -> str:
    return "" if number is None else str(number)
