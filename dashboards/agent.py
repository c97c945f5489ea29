"""The dashboard of dsray-inspect itself: whether it sees, what it costs, what it loses."""

from __future__ import annotations

from dsray_inspect.dashboards.model import Board, Row, panel, query
from dsray_inspect.dashboards.queries import BY_RUN, CLUSTER, CLUSTERS, RANK, RANKS, RUN, RUNS

HERE = "{{instance}}"

SEES = Row(
    question="Does it see the run?",
    panels=(
        panel(
            "timeseries",
            "Age of the newest look",
            "Everything on these dashboards is as old as this. It should stay near the seconds of serve --every.",
            query(f"time() - dsray_look_timestamp_seconds{{{CLUSTER}}}", HERE),
            unit="s",
            width=8,
        ),
        panel(
            *("timeseries", "Looks per second", "Taken, and failed."),
            query(f"rate(dsray_looks_total{{{CLUSTER}}}[$__rate_interval])", f"{HERE} taken"),
            query(
                f"rate(dsray_look_failures_total{{{CLUSTER}}}[$__rate_interval])", f"{HERE} failed"
            ),
            unit="short",
            width=8,
        ),
        panel(
            "timeseries",
            "Ranks with a stack",
            "Share of the ranks whose stack the newest look has, by any means. What is missing: dsray-inspect doctor.",
            query(f"avg by ({BY_RUN}) (dsray_rank_seen{{{RUN}}})", "seen"),
            unit="percentunit",
            width=8,
            maximum=1.0,
        ),
    ),
)
COSTS = Row(
    question="What does it cost?",
    panels=(
        panel(
            "timeseries",
            "CPU",
            "Cores in use: session is serve itself, stacks the py-spy processes that it ran on its own node.",
            query(
                f"rate(dsray_agent_cpu_seconds_total{{{CLUSTER}}}[$__rate_interval])",
                f"{HERE} {{{{component}}}}",
            ),
            unit="short",
            width=8,
        ),
        panel(
            *("timeseries", "Memory", "Resident memory of dsray-inspect serve."),
            query(f"dsray_agent_resident_memory_bytes{{{CLUSTER}}}", HERE),
            unit="bytes",
            width=8,
        ),
        panel(
            "timeseries",
            "Pauses of the ranks",
            "Share of time that looks have stopped a rank; 0.001 is a millisecond a second.",
            query(
                f"rate(dsray_rank_paused_seconds_total{{{RANK}}}[$__rate_interval])",
                "rank {{rank}}",
            ),
            unit="percentunit",
            width=8,
        ),
        panel(
            *("timeseries", "Seconds per look", "How long the newest look took."),
            query(f"dsray_look_duration_seconds{{{CLUSTER}}}", HERE),
            unit="s",
        ),
        panel(
            *("timeseries", "Seconds per scrape", "How long it took to put a scrape together."),
            query(f"dsray_scrape_duration_seconds{{{CLUSTER}}}", HERE),
            unit="s",
        ),
    ),
)
LOSES = Row(
    question="Does it lose anything?",
    panels=(
        panel(
            "timeseries",
            "Spans sent",
            "Spans per second that an OpenTelemetry collector has taken; only with serve --otlp.",
            query(f"rate(dsray_otlp_spans_exported_total{{{CLUSTER}}}[$__rate_interval])", HERE),
            unit="short",
            no_value="serve runs without --otlp",
        ),
        panel(
            "timeseries",
            "Spans dropped",
            "By reason: the queue was full, or the collector did not take them. They are gone.",
            query(
                f"rate(dsray_otlp_spans_dropped_total{{{CLUSTER}}}[$__rate_interval])",
                f"{HERE} {{{{reason}}}}",
            ),
            unit="short",
            no_value="serve runs without --otlp",
        ),
        panel(
            *("table", "What is running", "Every serve that is scraped, with its version."),
            query(
                "max by (ray_io_cluster, instance, version, python_version) "
                f"(dsray_build_info{{{CLUSTER}}})"
            ),
            unit="none",
            width=24,
            height=5,
        ),
    ),
)
BOARD = Board(
    uid="dsray-agent",
    title="dsray-inspect / Agent",
    description="Does dsray-inspect see the run, what does it cost, does it lose anything?",
    variables=(CLUSTERS, RUNS, RANKS),
    rows=(SEES, COSTS, LOSES),
)
