"""The dashboard of start-up time and of the overhead of Ray and DeepSpeed."""

from __future__ import annotations

from dsray_inspect.agent.causes import setup_causes
from dsray_inspect.dashboards.model import Board, Row, panel, query
from dsray_inspect.dashboards.queries import BY_RUN, CLUSTER, CLUSTERS, RUN, RUNS

_COST = f"max by ({BY_RUN}, part) (dsray_run_cost_seconds{{{RUN}}})"
_TRAINING = f'max by ({BY_RUN}) (dsray_run_cost_seconds{{{RUN}, part="training"}})'
_STARTS = (
    "actor_scheduling|process_start|imports|ranks_and_env|rendezvous|deepspeed_init|op_compile"
)
_RUNNING = "object_store|serialization|report|training"

_START = Row(
    question="How long did the start take, and which part took longest?",
    panels=(
        panel(
            "stat",
            "Time until training",
            "From fit(), or from the last restart of the worker group, to the first step, as far as known.",
            query(f"max by ({BY_RUN}) (sum without (part) (dsray_startup_seconds{{{RUN}}}))", "s"),
            unit="s",
            width=6,
        ),
        panel(
            "bars",
            "Parts of the start",
            "Consecutive parts, measured at the last rank to finish each; parts that were not observed are missing.",
            query(f"max by ({BY_RUN}, part) (dsray_startup_seconds{{{RUN}}})", "{{part}}"),
            unit="s",
            width=9,
        ),
        panel(
            "bars",
            "DeepSpeed initialization",
            "Phases of deepspeed.initialize at the slowest rank; complete for jobs started by dsray-inspect submit.",
            query(f"max by ({BY_RUN}, phase) (dsray_deepspeed_init_seconds{{{RUN}}})", "{{phase}}"),
            unit="s",
            width=9,
            no_value="DeepSpeed recorded nothing",
        ),
        panel(
            "timeline",
            "Start-up blocked",
            "Findings that block the start: resources, rendezvous, network, op compilation and its locks.",
            query(
                f"max by ({BY_RUN}, kind) (dsray_findings{{{RUN}, "
                f'kind=~"{"|".join(setup_causes())}"}})',
                "{{kind}}",
            ),
            unit="none",
            width=24,
            height=6,
            names={"0": "no|green", "1": "yes|red"},
        ),
    ),
)
_OVERHEAD = Row(
    question="What do Ray and DeepSpeed cost compared with training?",
    panels=(
        panel(
            "bars",
            "Cost of the start",
            "Seconds at the rank it cost most: scheduling, imports, rendezvous, DeepSpeed, op compilation (contained "
            "in deepspeed_init).",
            query(
                f'max by ({BY_RUN}, part) (dsray_run_cost_seconds{{{RUN}, part=~"{_STARTS}"}})',
                "{{part}}",
            ),
            unit="s",
            width=8,
        ),
        panel(
            "timeseries",
            "Cost while running",
            "Seconds spent so far in the object store, serialization and report barriers, and in training.",
            query(
                f'max by ({BY_RUN}, part) (dsray_run_cost_seconds{{{RUN}, part=~"{_RUNNING}"}})',
                "{{part}}",
            ),
            unit="s",
            width=8,
        ),
        panel(
            "bars",
            "Relative to training",
            "Each cost as a share of the training time so far. Parts may overlap.",
            query(f"{_COST} / on ({BY_RUN}) group_left () ({_TRAINING} > 0)", "{{part}}"),
            unit="percentunit",
            width=8,
            no_value="no training so far",
        ),
    ),
)
_STORE = Row(
    question="Does the object store or a report slow it down?",
    panels=(
        panel(
            "timeseries",
            "Object store memory",
            "By location, from Ray's own metrics; SPILLED means that it was too small.",
            query(
                f"sum by (ray_io_cluster, Location) (ray_object_store_memory{{{CLUSTER}}})",
                "{{Location}}",
            ),
            unit="bytes",
            width=12,
        ),
        panel(
            "timeseries",
            "Findings about the object store, reports and checkpoints",
            "Number of findings about waits for objects, reports or checkpoints.",
            query(
                f"sum by ({BY_RUN}, kind) (dsray_findings{{{RUN}, "
                'kind=~"object_wait|object_spilling|report_barrier|checkpoint_stall"})',
                "{{kind}}",
            ),
            unit="none",
            width=12,
        ),
    ),
)
BOARD = Board(
    uid="dsray-startup",
    title="dsray-inspect / Start-up and Ray cost",
    description="How long did the start take, which part took longest, and what do Ray and DeepSpeed cost compared with training?",
    variables=(CLUSTERS, RUNS),
    rows=(_START, _OVERHEAD, _STORE),
)
