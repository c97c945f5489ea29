"""The catalogue of metrics: the source of the collector, docs/metrics.md and the checks of dashboards.

Names follow Prometheus's conventions: base units, `_total` on counters, `_info` on facts whose value
is 1, the time of an event instead of "seconds since". Labels that change from one process to the next
(pid, actor) exist on `_info` metrics only. `estimated` in a name means that the value is derived
from samples, not from every event.
"""

from __future__ import annotations

from typing import Final, Literal

from dsray_inspect.agent.model import Record

Type = Literal["counter", "gauge", "histogram", "info", "stateset"]
Unit = Literal["", "seconds", "bytes", "ratio"]
Area = Literal["run", "rank", "step", "collective", "gpu", "start-up", "agent"]
_RUN: Final = ("run_id",)
_RANK: Final = ("run_id", "rank")
STEP_BUCKETS_S: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0, 600.0),
)
"""From a small model on one node to a large one with long gradient accumulation."""


class Metric(Record, frozen=True, kw_only=True):
    """One metric family, under the name that queries use."""

    name: str
    type: Type
    unit: Unit
    area: Area
    labels: tuple[str, ...]
    help: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series."""
        if self.type == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))

        return (self.name,)


def _gauge(name: str, area: Area, *, labels: tuple[str, ...], unit: Unit = "", help: str) -> Metric:
    return Metric(name=name, type="gauge", unit=unit, area=area, labels=labels, help=help)


def _counter(
    name: str, area: Area, *, labels: tuple[str, ...], unit: Unit = "", help: str
) -> Metric:
    return Metric(name=name, type="counter", unit=unit, area=area, labels=labels, help=help)


def _info(name: str, area: Area, *, labels: tuple[str, ...], help: str) -> Metric:
    return Metric(name=name, type="info", unit="", area=area, labels=labels, help=help)


def _stateset(name: str, area: Area, *, labels: tuple[str, ...], help: str) -> Metric:
    return Metric(name=name, type="stateset", unit="", area=area, labels=labels, help=help)


RUN_INFO = _info(
    "dsray_run_info",
    "run",
    labels=(
        *_RUN,
        "run_name",
        "attempt_id",
        "ray_job_id",
        "submission_id",
        "ray_version",
        "deepspeed_version",
        "torch_version",
        "zero_stage",
        "dtype",
    ),
    help="The watched run. run_id is Ray Train's, or the Ray job id if the controller never reported it.",
)
RUN_STATE = _gauge(
    "dsray_run_state",
    "run",
    labels=(*_RUN, "state"),
    help="1 for the state of the run according to Ray Train; other states have no series.",
)
RUN_RANKS = _gauge(
    "dsray_run_ranks",
    "run",
    labels=_RUN,
    help="Workers in the current worker group, including dead ones.",
)
RUN_RESTARTS = _counter(
    "dsray_run_group_restarts_total",
    "run",
    labels=_RUN,
    help="Number of times the worker group was replaced while the run was watched.",
)
VERDICT = _stateset(
    "dsray_verdict",
    "run",
    labels=(*_RUN, "state"),
    help="The verdict of the newest sample: 1 for one of healthy, starting, degraded, hung, failed, finished, unknown.",
)
FINDINGS = _gauge(
    "dsray_findings",
    "run",
    labels=(*_RUN, "kind", "severity"),
    help="Findings of the newest sample by kind (the cause's code) and severity; 0 for kinds without a finding.",
)
RANK_INFO = _info(
    "dsray_rank_info",
    "rank",
    labels=(
        *_RANK,
        "local_rank",
        "node_rank",
        "pid",
        "ip",
        "hostname",
        "gpu_uuid",
        "ray_node_id",
        "ray_actor_id",
    ),
    help="Where a rank runs, for joins. gpu_uuid is its first GPU's; dsray_rank_gpu_info has all.",
)
RANK_GPU_INFO = _info(
    "dsray_rank_gpu_info",
    "rank",
    labels=(*_RANK, "gpu_uuid", "gpu_slot"),
    help="A GPU of a rank. Join it with DCGM's UUID, with Ray's GpuUuid, or with dsray_gpu_*.",
)
RANK_STATE = _stateset(
    "dsray_rank_state",
    "rank",
    labels=(*_RANK, "state"),
    help="1 for one of alive, stopped, pending, restarting, dead, unknown.",
)
RANK_PHASE = _gauge(
    "dsray_rank_phase",
    "rank",
    labels=(*_RANK, "phase"),
    help="1 for the phase that the rank was in at the newest sample; other phases have no series.",
)
RANK_SEEN = _gauge(
    "dsray_rank_seen",
    "rank",
    labels=_RANK,
    help="1 if the newest sample has the rank's stack, from any source, else 0.",
)
RANK_CULPRIT = _gauge(
    "dsray_rank_culprit",
    "rank",
    labels=(*_RANK, "kind"),
    help="1 for a rank that a finding of this kind names as the culprit; no series otherwise.",
)
RANK_LAST_MOVED = _gauge(
    "dsray_rank_last_moved_timestamp_seconds",
    "rank",
    labels=_RANK,
    unit="seconds",
    help="When the kernel last ran the rank's training thread.",
)
RANK_MEMORY = _gauge(
    "dsray_rank_resident_memory_bytes",
    "rank",
    labels=_RANK,
    unit="bytes",
    help="Resident memory of the rank's process.",
)
RANK_PAUSED = _counter(
    "dsray_rank_paused_seconds_total",
    "rank",
    labels=_RANK,
    unit="seconds",
    help="Total time for which samples have paused the rank.",
)
STEP = _gauge(
    "dsray_train_step",
    "step",
    labels=_RANK,
    help="DeepSpeed's global step of the rank.",
)
STEPS = _counter(
    "dsray_train_steps_total",
    "step",
    labels=_RANK,
    help="Global steps completed while the run was watched. It never decreases, even if a restart resumes from an earlier step.",
)
LAST_STEP = _gauge(
    "dsray_train_last_step_timestamp_seconds",
    "step",
    labels=_RANK,
    unit="seconds",
    help="When a new global step was last seen: the time of the sample that found it. At the first sample: when the rank last ran.",
)
STEP_DURATION = Metric(
    name="dsray_train_step_duration_seconds",
    type="histogram",
    unit="seconds",
    area="step",
    labels=_RUN,
    help="Duration of a global step. Steps completed between two samples count with their mean.",
)
PHASE_SECONDS = _counter(
    "dsray_train_phase_estimated_seconds_total",
    "step",
    labels=(*_RANK, "phase"),
    unit="seconds",
    help="Seconds in each phase, estimated: the time between two samples counts for the phase found by the second one.",
)
WAIT_SECONDS = _counter(
    "dsray_collective_wait_estimated_seconds_total",
    "collective",
    labels=_RANK,
    unit="seconds",
    help="Seconds that the training thread waits in collectives, estimated from samples like the phases. On GPUs the host often does not wait itself.",
)
PENDING = _gauge(
    "dsray_collective_pending",
    "collective",
    labels=_RANK,
    help="Collectives that an idle rank has entered and not left, according to its flight recorder. No series if that was not read.",
)
PENDING_SINCE = _gauge(
    "dsray_collective_pending_since_timestamp_seconds",
    "collective",
    labels=_RANK,
    unit="seconds",
    help="When the rank entered the oldest collective it has not left.",
)
GPU_INFO = _info(
    "dsray_gpu_info",
    "gpu",
    labels=("gpu_uuid", "gpu_index", "gpu_name", "node", "ray_node_id"),
    help="A GPU of a node on which the run has a process.",
)
GPU_UTILIZATION = _gauge(
    "dsray_gpu_utilization_ratio",
    "gpu",
    labels=("gpu_uuid",),
    unit="ratio",
    help="Share of time in which kernels ran, from NVML, 0 to 1.",
)
GPU_MEMORY_USED = _gauge(
    "dsray_gpu_memory_used_bytes",
    "gpu",
    labels=("gpu_uuid",),
    unit="bytes",
    help="Memory in use on the GPU by all processes.",
)
GPU_MEMORY_LIMIT = _gauge(
    "dsray_gpu_memory_limit_bytes",
    "gpu",
    labels=("gpu_uuid",),
    unit="bytes",
    help="Memory of the GPU.",
)
STARTUP = _gauge(
    "dsray_startup_seconds",
    "start-up",
    labels=(*_RUN, "part"),
    unit="seconds",
    help="Duration of each part of the run's start, measured at the last rank to finish it. Parts that were not observed have no series.",
)
DEEPSPEED_INIT = _gauge(
    "dsray_deepspeed_init_seconds",
    "start-up",
    labels=(*_RUN, "phase"),
    unit="seconds",
    help="Seconds in each phase of deepspeed.initialize at the slowest rank: all phases for jobs started by dsray-inspect submit, else those that DeepSpeed itself records.",
)
COST = _gauge(
    "dsray_run_cost_seconds",
    "start-up",
    labels=(*_RUN, "part"),
    unit="seconds",
    help="Seconds that each activity has cost the run so far, at the rank it cost most; the part training is the training itself. op_compile is contained in deepspeed_init.",
)
NODE_ALIVE = _gauge(
    "dsray_node_alive",
    "agent",
    labels=("node", "ray_node_id"),
    help="1 while Ray considers a node of the run alive, else 0.",
)
AGENT_UP = _gauge(
    "dsray_agent_up",
    "agent",
    labels=("node", "ray_node_id"),
    help="1 if the node's processes could be read from outside, 0 if that failed. No series if it was not needed.",
)
LOOKS = _counter(
    "dsray_looks_total",
    "agent",
    labels=(),
    help="Samples taken of the run.",
)
LOOK_FAILURES = _counter(
    "dsray_look_failures_total",
    "agent",
    labels=(),
    help="Samples that failed, for example because the cluster did not answer.",
)
LOOK_DURATION = _gauge(
    "dsray_look_duration_seconds",
    "agent",
    labels=(),
    unit="seconds",
    help="How long the newest sample took.",
)
LOOK_TIME = _gauge(
    "dsray_look_timestamp_seconds",
    "agent",
    labels=(),
    unit="seconds",
    help="When the newest sample was taken: all values are as old as it is.",
)
SCRAPE_DURATION = _gauge(
    "dsray_scrape_duration_seconds",
    "agent",
    labels=(),
    unit="seconds",
    help="How long it took to answer this scrape.",
)
AGENT_CPU = _counter(
    "dsray_agent_cpu_seconds_total",
    "agent",
    labels=("component",),
    unit="seconds",
    help="CPU time of dsray-inspect serve itself (session) and of the py-spy processes it ran on its own node (stacks).",
)
AGENT_MEMORY = _gauge(
    "dsray_agent_resident_memory_bytes",
    "agent",
    labels=(),
    unit="bytes",
    help="Resident memory of dsray-inspect serve.",
)
SPANS_EXPORTED = _counter(
    "dsray_otlp_spans_exported_total",
    "agent",
    labels=(),
    help="Spans accepted by an OpenTelemetry collector.",
)
SPANS_DROPPED = _counter(
    "dsray_otlp_spans_dropped_total",
    "agent",
    labels=("reason",),
    help="Spans that were not exported: the queue was full (queue), or the collector did not accept them (export).",
)
BUILD_INFO = _info(
    "dsray_build_info",
    "agent",
    labels=("version", "python_version"),
    help="Version of dsray-inspect and Python.",
)

CATALOGUE: Final[tuple[Metric, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
"""Every metric, in the order of this file."""
SERIES: Final = frozenset(name for metric in CATALOGUE for name in metric.series)
"""Every name that a query may use."""
