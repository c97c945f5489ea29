"""The values of the metrics: computed from a run's newest snapshot and its counters."""

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
MetricSample = tuple[m.Metric, Labels, float]
"""A metric, the values of its labels in the metric's order, and the value."""

_VERDICTS: tuple[VerdictState, ...] = get_args(VerdictState)
_STATES: tuple[WorkerState, ...] = get_args(WorkerState)
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)


def metric_samples(snapshot: Snapshot, counters: RunCounters) -> Iterator[MetricSample]:
    """Yield the values of all metrics."""
    for node in snapshot.nodes:
        yield from _node_samples(node)

    if not counters.run_id:
        return

    yield from _run_samples(snapshot, counters)
    yield from _finding_samples(snapshot, counters)
    yield from _startup_samples(snapshot, counters.run_id)

    for worker in snapshot.workers:
        rank = counters.rank_of(worker)

        if rank is not None:
            key = (counters.run_id, str(rank))
            yield from _place_samples(worker, key)
            yield from _state_samples(worker, key, snapshot.taken_at)
            yield from _counter_samples(counters, rank, key)
            yield from _collective_samples(worker, key, snapshot.taken_at)


def _run_samples(snapshot: Snapshot, counters: RunCounters) -> Iterator[MetricSample]:
    run, run_id = snapshot.run, counters.run_id
    versions = next((worker.versions for worker in snapshot.workers if worker.versions), {})
    engine = next((worker.deepspeed for worker in snapshot.workers if worker.deepspeed), None)
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
    yield m.RUN_RESTARTS, (run_id,), counters.restarts

    if run is not None:
        yield m.RUN_STATE, (run_id, run.state), 1

    for state in _VERDICTS:
        yield m.VERDICT, (run_id, state), state == snapshot.verdict.state

    below = 0

    for bound, below in counters.step_durations.cumulative():
        yield m.STEP_DURATION, (run_id, bound), below

    yield m.STEP_DURATION, (run_id, "count"), below
    yield m.STEP_DURATION, (run_id, "sum"), counters.step_durations.sum_s


def _finding_samples(snapshot: Snapshot, counters: RunCounters) -> Iterator[MetricSample]:
    counts = Counter((finding.cause, finding.severity) for finding in snapshot.findings)

    for cause in CAUSES:
        for severity in _SEVERITIES:
            yield m.FINDINGS, (counters.run_id, cause, severity), counts[cause, severity]

    for cause, rank in sorted(
        {(finding.cause, rank) for finding in snapshot.findings for rank in finding.ranks}
    ):
        yield m.RANK_CULPRIT, (counters.run_id, str(rank), cause), 1


def _startup_samples(snapshot: Snapshot, run_id: str) -> Iterator[MetricSample]:
    """Yield how long the start took, and what each activity has cost."""
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


def _place_samples(worker: Worker, key: Labels) -> Iterator[MetricSample]:
    """Yield where a rank runs."""
    yield (
        m.RANK_INFO,
        (
            *key,
            _label(worker.local_rank),
            _label(worker.node_rank),
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


def _state_samples(worker: Worker, key: Labels, taken_at: float) -> Iterator[MetricSample]:
    """Yield a rank's state, phase and memory."""
    for state in _STATES:
        yield m.RANK_STATE, (*key, state), state == worker.state

    yield m.RANK_PHASE, (*key, worker.phase), 1
    yield m.RANK_SEEN, key, worker.evidence.stack == OK

    if worker.idle_s is not None:
        yield m.RANK_LAST_MOVED, key, taken_at - worker.idle_s

    if worker.rss_bytes is not None:
        yield m.RANK_MEMORY, key, worker.rss_bytes


def _counter_samples(counters: RunCounters, rank: int, key: Labels) -> Iterator[MetricSample]:
    """Yield a rank's counters."""
    own = counters.ranks.get(rank)

    if own is None:
        return

    yield m.RANK_PAUSED, key, own.paused_s
    yield m.STEPS, key, own.steps
    yield m.WAIT_SECONDS, key, own.wait_s

    if own.step is not None:
        yield m.STEP, key, own.step

    if own.last_step_at is not None:
        yield m.LAST_STEP, key, own.last_step_at

    for phase, seconds in own.phase_s.items():
        yield m.PHASE_SECONDS, (*key, phase), seconds


def _collective_samples(worker: Worker, key: Labels, taken_at: float) -> Iterator[MetricSample]:
    if worker.evidence.collectives != OK:
        return

    ages = [collective.age_s for collective in worker.collectives if not collective.finished]
    yield m.PENDING, key, len(ages)

    if ages:
        yield m.PENDING_SINCE, key, taken_at - max(ages)


def _node_samples(node: Node) -> Iterator[MetricSample]:
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


def _label(number: int | None) -> str:
    return "" if number is None else str(number)
