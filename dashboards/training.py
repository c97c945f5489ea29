"""The dashboard of a run that trains: how fast, where its time goes, who holds it up."""

from __future__ import annotations

from dsray_inspect.dashboards.model import Board, Row, panel, query
from dsray_inspect.dashboards.queries import (
    ATTEMPTS,
    BY_RUN,
    CLUSTERS,
    RANK,
    RANKS,
    RUN,
    RUNS,
    during,
)

BUCKETS = f"rate(dsray_train_step_duration_seconds_bucket{{{RUN}}}[$__rate_interval])"
SUM, COUNT = (
    f"sum by ({BY_RUN}) (rate(dsray_train_step_duration_seconds_{part}{{{RUN}}}[$__rate_interval]))"
    for part in ("sum", "count")
)
WAIT = f"rate(dsray_collective_wait_estimated_seconds_total{{{RANK}}}[$__rate_interval])"
ALL_WAIT = f"rate(dsray_collective_wait_estimated_seconds_total{{{RUN}}}[$__rate_interval])"
PHASES = "dsray_train_phase_estimated_seconds_total"


def quantile(share: float) -> str:
    return during(f"histogram_quantile({share}, sum by ({BY_RUN}, le) ({BUCKETS}))")


SPEED = Row(
    question="How fast does it train?",
    panels=(
        panel(
            *("timeseries", "Steps per second", "Global steps of the rank that makes most."),
            query(
                during(
                    f"max by ({BY_RUN}) (rate(dsray_train_steps_total{{{RUN}}}[$__rate_interval]))"
                ),
                "steps",
            ),
            unit="short",
            width=8,
        ),
        panel(
            "timeseries",
            "Seconds per step",
            "Mean and quantiles. Steps between two looks count with their mean, so short outliers do not show.",
            query(during(f"{SUM} / {COUNT}"), "mean"),
            *(query(quantile(share), f"p{share * 100:.0f}") for share in (0.5, 0.99)),
            unit="s",
            width=8,
            no_value="no step was timed",
        ),
        panel(
            *("timeseries", "Global step", "DeepSpeed's count; it falls where a restart resumes."),
            query(during(f"max by ({BY_RUN}) (dsray_train_step{{{RUN}}})"), "first rank"),
            query(during(f"min by ({BY_RUN}) (dsray_train_step{{{RUN}}})"), "last rank"),
            unit="none",
            width=8,
        ),
    ),
)
TIME = Row(
    question="Where does the time go?",
    panels=(
        panel(
            "timeseries",
            "Phases",
            "Share of time in each phase, mean over the ranks. Estimated: as fine as looks are frequent.",
            query(
                during(f"avg by ({BY_RUN}, phase) (rate({PHASES}{{{RANK}}}[$__rate_interval]))"),
                "{{phase}}",
            ),
            unit="percentunit",
            stacked=True,
        ),
        panel(
            "timeseries",
            "Waiting for data and user code",
            "Share of time outside of the model: data loading, user code, checkpoints, reports. Where it is high the "
            "GPUs starve.",
            query(
                during(
                    f"avg by ({BY_RUN}, phase) (rate({PHASES}"
                    f'{{{RANK}, phase=~"data|user|checkpoint|report"}}[$__rate_interval]))'
                ),
                "{{phase}}",
            ),
            unit="percentunit",
            stacked=True,
            no_value="none was seen",
        ),
    ),
)
SLOW = Row(
    question="Which rank holds the others up?",
    panels=(
        panel(
            "timeseries",
            "Waiting in collectives",
            "Share of time that a rank's training thread waits in collectives. On GPUs the host often does not wait.",
            query(during(WAIT), "rank {{rank}}"),
            unit="percentunit",
            width=8,
        ),
        panel(
            "timeseries",
            "Waits less than the mean",
            "By how much a rank waits less in collectives than the ranks do on average: the others wait for the "
            "highest. The ten highest are shown.",
            query(
                during(
                    f"topk(10, avg by ({BY_RUN}) ({ALL_WAIT}) - on ({BY_RUN}) group_right () ({WAIT}))"
                ),
                "rank {{rank}}",
            ),
            unit="percentunit",
            width=8,
        ),
        panel(
            "timeseries",
            "Steps behind the first",
            "Global steps that a rank is behind the foremost rank; more than one, for long, means they disagree.",
            query(
                during(
                    f"max by ({BY_RUN}) (dsray_train_step{{{RUN}}}) "
                    f"- on ({BY_RUN}) group_right () dsray_train_step{{{RANK}}}"
                ),
                "rank {{rank}}",
            ),
            unit="none",
            width=8,
        ),
        panel(
            "timeseries",
            "Straggler and data findings",
            "How many findings of each kind the looks had: slower ranks, stalled data, ranks that disagree.",
            query(
                during(
                    f"sum by ({BY_RUN}, kind) (dsray_findings"
                    f'{{{RUN}, kind=~"straggler|data_stall|collective_mismatch|rank_divergence"}})'
                ),
                "{{kind}}",
            ),
            unit="none",
            width=24,
            height=6,
        ),
    ),
)
LEARNS = Row(
    question="Does it still learn?",
    panels=(
        panel(
            "timeseries",
            "Gradient overflow and non-finite loss",
            "Findings of skipped steps (fp16's loss scale falls) and of a loss that is no number.",
            query(
                during(
                    f"sum by ({BY_RUN}, kind) (dsray_findings"
                    f'{{{RUN}, kind=~"overflow_skips|nonfinite_loss"}})'
                ),
                "{{kind}}",
            ),
            unit="none",
            width=24,
            height=6,
        ),
    ),
)
BOARD = Board(
    uid="dsray-training",
    title="dsray-inspect / Training",
    description="How fast does the run train, where does the time go, who holds the others up, does it still learn?",
    variables=(CLUSTERS, RUNS, ATTEMPTS, RANKS),
    rows=(SPEED, TIME, SLOW, LEARNS),
)
