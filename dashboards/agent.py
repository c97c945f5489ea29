"""The dashboard of dsray-inspect itself: what it can read, what it costs, what it loses."""

from __future__ import annotations

from dsray_inspect.dashboards.model import Board, Row, panel, query
from dsray_inspect.dashboards.queries import BY_RUN, CLUSTER, CLUSTERS, RANK, RANKS, RUN, RUNS

_INSTANCE = "{{instance}}"

_COVERAGE = Row(
    question="Can it read the run?",
    panels=(
        panel(
            "timeseries",
            "Age of the newest sample",
            "All values on these dashboards are as old as this. It should stay close to the interval of serve --every.",
            query(f"time() - dsray_look_timestamp_seconds{{{CLUSTER}}}", _INSTANCE),
            unit="s",
            width=8,
        ),
        panel(
            *("timeseries", "Samples per second", "Taken and failed."),
            query(f"rate(dsray_looks_total{{{CLUSTER}}}[$__rate_interval])", f"{_INSTANCE} taken"),
            query(
                f"rate(dsray_look_failures_total{{{CLUSTER}}}[$__rate_interval])",
                f"{_INSTANCE} failed",
            ),
            unit="short",
            width=8,
        ),
        panel(
            "timeseries",
            "Ranks with a stack",
            "Share of ranks whose stack the newest sample has, from any source. dsray-inspect doctor says why one is missing.",
            query(f"avg by ({BY_RUN}) (dsray_rank_seen{{{RUN}}})", "with a stack"),
            unit="percentunit",
            width=8,
            maximum=1.0,
        ),
    ),
)
_OVERHEAD = Row(
    question="What does it cost?",
    panels=(
        panel(
            "timeseries",
            "CPU",
            "Cores in use: session is serve itself, stacks the py-spy processes it ran on its own node.",
            query(
                f"rate(dsray_agent_cpu_seconds_total{{{CLUSTER}}}[$__rate_interval])",
                f"{_INSTANCE} {{{{component}}}}",
            ),
            unit="short",
            width=8,
        ),
        panel(
            *("timeseries", "Memory", "Resident memory of dsray-inspect serve."),
            query(f"dsray_agent_resident_memory_bytes{{{CLUSTER}}}", _INSTANCE),
            unit="bytes",
            width=8,
        ),
        panel(
            "timeseries",
            "Pauses of the ranks",
            "Share of time for which samples have paused a rank; 0.001 is one millisecond per second.",
            query(
                f"rate(dsray_rank_paused_seconds_total{{{RANK}}}[$__rate_interval])",
                "rank {{rank}}",
            ),
            unit="percentunit",
            width=8,
        ),
        panel(
            *("timeseries", "Seconds per sample", "How long the newest sample took."),
            query(f"dsray_look_duration_seconds{{{CLUSTER}}}", _INSTANCE),
            unit="s",
        ),
        panel(
            *("timeseries", "Seconds per scrape", "How long it took to answer a scrape."),
            query(f"dsray_scrape_duration_seconds{{{CLUSTER}}}", _INSTANCE),
            unit="s",
        ),
    ),
)
_LOSSES = Row(
    question="Does it lose anything?",
    panels=(
        panel(
            "timeseries",
            "Spans sent",
            "Spans per second accepted by an OpenTelemetry collector; only with serve --otlp.",
            query(
                f"rate(dsray_otlp_spans_exported_total{{{CLUSTER}}}[$__rate_interval])", _INSTANCE
            ),
            unit="short",
            no_value="serve runs without --otlp",
        ),
        panel(
            "timeseries",
            "Spans dropped",
            "By reason: the queue was full, or the collector did not accept them. They are lost.",
            query(
                f"rate(dsray_otlp_spans_dropped_total{{{CLUSTER}}}[$__rate_interval])",
                f"{_INSTANCE} {{{{reason}}}}",
            ),
            unit="short",
            no_value="serve runs without --otlp",
        ),
        panel(
            *("table", "Scraped instances", "Every serve that is scraped, with its version."),
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
    description="Can dsray-inspect read the run, what does it cost, does it lose anything?",
    variables=(CLUSTERS, RUNS, RANKS),
    rows=(_COVERAGE, _OVERHEAD, _LOSSES),
)
