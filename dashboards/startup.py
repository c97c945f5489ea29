"""The dashboard of what it takes to start, and of what Ray and DeepSpeed take from training."""

from __future__ import annotations

from dsray_inspect.agent.causes import setup_causes
from dsray_inspect.dashboards.model import Board, Row, panel, query
from dsray_inspect.dashboards.queries import BY_RUN, CLUSTER, CLUSTERS, RUN, RUNS

COST = f"max by ({BY_RUN}, part) (dsray_run_cost_seconds{{{RUN}}})"
TRAINING = f'max by ({BY_RUN}) (dsray_run_cost_seconds{{{RUN}, part="training"}})'
STARTS = "actor_scheduling|process_start|imports|ranks_and_env|rendezvous|deepspeed_init|op_compile"
RUNNING = "object_store|serialization|report|training"

START = Row(
    question="How long did the start take, and what took it?",
    panels=(
        panel(
            "stat",
            "Until training ran",
            "From fit(), or from the last restart of the group, until its first step, as far as it is known.",
            query(f"max by ({BY_RUN}) (sum without (part) (dsray_startup_seconds{{{RUN}}}))", "s"),
            unit="s",
            width=6,
        ),
        panel(
            "bars",
            "Parts of the start",
            "They follow one another, by the ranks that came last; parts that nobody saw are missing.",
            query(f"max by ({BY_RUN}, part) (dsray_startup_seconds{{{RUN}}})", "{{part}}"),
            unit="s",
            width=9,
        ),
        panel(
            "bars",
            "DeepSpeed's initialisation",
            "Phases of deepspeed.initialize by the slowest rank; all of them for jobs of dsray-inspect submit.",
            query(f"max by ({BY_RUN}, phase) (dsray_deepspeed_init_seconds{{{RUN}}})", "{{phase}}"),
            unit="s",
            width=9,
            no_value="DeepSpeed left nothing behind",
        ),
        panel(
            "timeline",
            "Stuck in the start",
            "Findings that hold a start up: resources, rendezvous, network, op compiles and their locks.",
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
PRICE = Row(
    question="What do Ray and DeepSpeed cost, against training?",
    panels=(
        panel(
            "bars",
            "Cost of the start",
            "Seconds by the rank that it cost most: scheduling, imports, rendezvous, DeepSpeed, op compile (a part "
            "of deepspeed_init).",
            query(
                f'max by ({BY_RUN}, part) (dsray_run_cost_seconds{{{RUN}, part=~"{STARTS}"}})',
                "{{part}}",
            ),
            unit="s",
            width=8,
        ),
        panel(
            "timeseries",
            "Cost while it runs",
            "Seconds that the object store, serialization and report barriers have taken so far, next to training.",
            query(
                f'max by ({BY_RUN}, part) (dsray_run_cost_seconds{{{RUN}, part=~"{RUNNING}"}})',
                "{{part}}",
            ),
            unit="s",
            width=8,
        ),
        panel(
            "bars",
            "Against training",
            "Each cost as a share of the seconds of training so far. Parts may contain one another.",
            query(f"{COST} / on ({BY_RUN}) group_left () ({TRAINING} > 0)", "{{part}}"),
            unit="percentunit",
            width=8,
            no_value="it has not trained yet",
        ),
    ),
)
STORE = Row(
    question="Is the object store or a report in the way?",
    panels=(
        panel(
            "timeseries",
            "Object store memory",
            "By place, as Ray's own metrics tell it; SPILLED means that it was too small.",
            query(
                f"sum by (ray_io_cluster, Location) (ray_object_store_memory{{{CLUSTER}}})",
                "{{Location}}",
            ),
            unit="bytes",
            width=12,
        ),
        panel(
            "timeseries",
            "Findings of the object store, reports and checkpoints",
            "How many ranks or drivers wait for objects, reports or checkpoints.",
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
    description="How long did the start take, what took it, and what do Ray and DeepSpeed cost against training?",
    variables=(CLUSTERS, RUNS),
    rows=(START, PRICE, STORE),
)
