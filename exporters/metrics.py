"""The catalogue of our metrics: the collector, docs/metrics.md and the dashboards' checks come from it.

Names follow Prometheus: base units, `_total` on counters, `_info` for facts that are 1, the time
of an event instead of "seconds since". What changes from one process to the next (pid, actor)
is a label of `_info` metrics only. `estimated` in a name says that it rests on looks, not on
every event.
"""

from __future__ import annotations

from typing import Final, Literal

from dsray_inspect.agent.model import Record

Type = Literal["counter", "gauge", "histogram", "info", "stateset"]
Unit = Literal["", "seconds", "bytes", "ratio"]
Area = Literal["run", "rank", "step", "collective", "gpu", "start-up", "agent"]
RUN: Final = ("run_id",)
RANK: Final = ("run_id", "rank")
STEP_BUCKETS_S: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0, 600.0),
)
"""Of a small model on one node to a large one with long gradient accumulation."""


class Metric(Record, frozen=True, kw_only=True):
    """One family, under the name that queries use."""

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


def gauge(name: str, area: Area, *, labels: tuple[str, ...], unit: Unit = "", help: str) -> Metric:
    return Metric(name=name, type="gauge", unit=unit, area=area, labels=labels, help=help)


def counter(
    name: str, area: Area, *, labels: tuple[str, ...], unit: Unit = "", help: str
) -> Metric:
    return Metric(name=name, type="counter", unit=unit, area=area, labels=labels, help=help)


def info(name: str, area: Area, *, labels: tuple[str, ...], help: str) -> Metric:
    return Metric(name=name, type="info", unit="", area=area, labels=labels, help=help)


def stateset(name: str, area: Area, *, labels: tuple[str, ...], help: str) -> Metric:
    return Metric(name=name, type="stateset", unit="", area=area, labels=labels, help=help)


RUN_INFO = info(
    "dsray_run_info",
    "run",
    labels=(
        *RUN,
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
    help="The run that is watched. run_id is Ray Train's, the Ray job id where the controller never told it.",
)
RUN_STATE = gauge(
    "dsray_run_state",
    "run",
    labels=(*RUN, "state"),
    help="1 for the state that Ray Train says the run is in; other states have no series.",
)
RUN_RANKS = gauge(
    "dsray_run_ranks",
    "run",
    labels=RUN,
    help="Workers in the present worker group, dead ones included.",
)
RUN_RESTARTS = counter(
    "dsray_run_group_restarts_total",
    "run",
    labels=RUN,
    help="Times the worker group was replaced by another while it was watched.",
)
VERDICT = stateset(
    "dsray_verdict",
    "run",
    labels=(*RUN, "state"),
    help="The verdict of the newest look: 1 for one of healthy, starting, degraded, hung, failed, finished, unknown.",
)
FINDINGS = gauge(
    "dsray_findings",
    "run",
    labels=(*RUN, "kind", "severity"),
    help="Findings of the newest look by kind (the cause's code) and severity; 0 for each that there is none of.",
)
RANK_INFO = info(
    "dsray_rank_info",
    "rank",
    labels=(
        *RANK,
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
RANK_GPU_INFO = info(
    "dsray_rank_gpu_info",
    "rank",
    labels=(*RANK, "gpu_uuid", "gpu_slot"),
    help="A GPU of a rank. Join with DCGM's UUID, with Ray's GpuUuid, or with dsray_gpu_*.",
)
RANK_STATE = stateset(
    "dsray_rank_state",
    "rank",
    labels=(*RANK, "state"),
    help="1 for one of alive, stopped, pending, restarting, dead, unknown.",
)
RANK_PHASE = gauge(
    "dsray_rank_phase",
    "rank",
    labels=(*RANK, "phase"),
    help="1 for the phase that the newest look found the rank in; other phases have no series.",
)
RANK_SEEN = gauge(
    "dsray_rank_seen",
    "rank",
    labels=RANK,
    help="1 when the newest look has the rank's stack by any means, else 0.",
)
RANK_CULPRIT = gauge(
    "dsray_rank_culprit",
    "rank",
    labels=(*RANK, "kind"),
    help="1 for a rank that a finding of this kind blames; no series otherwise.",
)
RANK_LAST_MOVED = gauge(
    "dsray_rank_last_moved_timestamp_seconds",
    "rank",
    labels=RANK,
    unit="seconds",
    help="When the kernel last ran the rank's training thread.",
)
RANK_MEMORY = gauge(
    "dsray_rank_resident_memory_bytes",
    "rank",
    labels=RANK,
    unit="bytes",
    help="Resident memory of the rank's process.",
)
RANK_PAUSED = counter(
    "dsray_rank_paused_seconds_total",
    "rank",
    labels=RANK,
    unit="seconds",
    help="How long our looks have stopped the rank.",
)
STEP = gauge(
    "dsray_train_step",
    "step",
    labels=RANK,
    help="DeepSpeed's global step of the rank.",
)
STEPS = counter(
    "dsray_train_steps_total",
    "step",
    labels=RANK,
    help="Global steps made while the run was watched. It never falls, also when a restart resumes from an earlier step.",
)
LAST_STEP = gauge(
    "dsray_train_last_step_timestamp_seconds",
    "step",
    labels=RANK,
    unit="seconds",
    help="When a new global step was last seen: the time of the look that found it. At the first look, when the rank last moved.",
)
STEP_DURATION = Metric(
    name="dsray_train_step_duration_seconds",
    type="histogram",
    unit="seconds",
    area="step",
    labels=RUN,
    help="Seconds a global step takes. Steps that are made between two looks count with their mean.",
)
PHASE_SECONDS = counter(
    "dsray_train_phase_estimated_seconds_total",
    "step",
    labels=(*RANK, "phase"),
    unit="seconds",
    help="Seconds in each phase, estimated: the time between two looks counts for the phase that the second one finds.",
)
WAIT_SECONDS = counter(
    "dsray_collective_wait_estimated_seconds_total",
    "collective",
    labels=RANK,
    unit="seconds",
    help="Seconds the training thread waits in collectives, estimated from looks as the phases are. On GPUs the host often does not wait itself.",
)
PENDING = gauge(
    "dsray_collective_pending",
    "collective",
    labels=RANK,
    help="Collectives that a rank which stands still has entered and not left, by its flight recorder. No series where it was not read.",
)
PENDING_SINCE = gauge(
    "dsray_collective_pending_since_timestamp_seconds",
    "collective",
    labels=RANK,
    unit="seconds",
    help="When the rank entered the oldest collective that it has not left.",
)
GPU_INFO = info(
    "dsray_gpu_info",
    "gpu",
    labels=("gpu_uuid", "gpu_index", "gpu_name", "node", "ray_node_id"),
    help="A GPU of a node that holds a part of the run.",
)
GPU_UTILIZATION = gauge(
    "dsray_gpu_utilization_ratio",
    "gpu",
    labels=("gpu_uuid",),
    unit="ratio",
    help="Share of time that kernels ran, as NVML reads it, 0 to 1.",
)
GPU_MEMORY_USED = gauge(
    "dsray_gpu_memory_used_bytes",
    "gpu",
    labels=("gpu_uuid",),
    unit="bytes",
    help="Memory in use on the GPU, by all processes.",
)
GPU_MEMORY_LIMIT = gauge(
    "dsray_gpu_memory_limit_bytes",
    "gpu",
    labels=("gpu_uuid",),
    unit="bytes",
    help="Memory the GPU has.",
)
STARTUP = gauge(
    "dsray_startup_seconds",
    "start-up",
    labels=(*RUN, "part"),
    unit="seconds",
    help="Seconds that each part of the run's start took, by the ranks that came last. Parts that nobody saw have no series.",
)
DEEPSPEED_INIT = gauge(
    "dsray_deepspeed_init_seconds",
    "start-up",
    labels=(*RUN, "phase"),
    unit="seconds",
    help="Seconds in each phase of deepspeed.initialize, by the slowest rank; all of them where the job was submitted by dsray-inspect submit, else what DeepSpeed itself left behind.",
)
COST = gauge(
    "dsray_run_cost_seconds",
    "start-up",
    labels=(*RUN, "part"),
    unit="seconds",
    help="Seconds that each thing has cost the run so far, by the rank that it cost most; part training is the training itself. op_compile lies in deepspeed_init.",
)
NODE_ALIVE = gauge(
    "dsray_node_alive",
    "agent",
    labels=("node", "ray_node_id"),
    help="1 while Ray takes a node of the run for alive, else 0.",
)
AGENT_UP = gauge(
    "dsray_agent_up",
    "agent",
    labels=("node", "ray_node_id"),
    help="1 when the node could be looked at from outside its processes, 0 when that failed. No series where nobody needed to.",
)
LOOKS = counter(
    "dsray_looks_total",
    "agent",
    labels=(),
    help="Looks taken at the run.",
)
LOOK_FAILURES = counter(
    "dsray_look_failures_total",
    "agent",
    labels=(),
    help="Looks that failed, such as while the cluster did not answer.",
)
LOOK_DURATION = gauge(
    "dsray_look_duration_seconds",
    "agent",
    labels=(),
    unit="seconds",
    help="How long the newest look took.",
)
LOOK_TIME = gauge(
    "dsray_look_timestamp_seconds",
    "agent",
    labels=(),
    unit="seconds",
    help="When the newest look was taken: everything here is as old as it.",
)
SCRAPE_DURATION = gauge(
    "dsray_scrape_duration_seconds",
    "agent",
    labels=(),
    unit="seconds",
    help="How long it took to put this scrape together.",
)
AGENT_CPU = counter(
    "dsray_agent_cpu_seconds_total",
    "agent",
    labels=("component",),
    unit="seconds",
    help="CPU time of dsray-inspect serve itself (session) and of the py-spy processes it ran (stacks), on its node.",
)
AGENT_MEMORY = gauge(
    "dsray_agent_resident_memory_bytes",
    "agent",
    labels=(),
    unit="bytes",
    help="Resident memory of dsray-inspect serve.",
)
SPANS_EXPORTED = counter(
    "dsray_otlp_spans_exported_total",
    "agent",
    labels=(),
    help="Spans that an OpenTelemetry collector has taken.",
)
SPANS_DROPPED = counter(
    "dsray_otlp_spans_dropped_total",
    "agent",
    labels=("reason",),
    help="Spans that were not exported: the queue was full (queue), or the collector did not take them (export).",
)
BUILD_INFO = info(
    "dsray_build_info",
    "agent",
    labels=("version", "python_version"),
    help="What is running.",
)

CATALOGUE: Final[tuple[Metric, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
"""Every metric, in the order of this file."""
SERIES: Final = frozenset(name for metric in CATALOGUE for name in metric.series)
"""Every name that a query may use."""
