"""The dashboard of a training run: speed, where its time goes, which rank is slow."""

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

_BUCKETS = f"rate(dsray_train_step_duration_seconds_bucket{{{RUN}}}[$__rate_interval])"
SUM, COUNT = (
    f"sum by ({BY_RUN}) (rate(dsray_train_step_duration_seconds_{part}{{{RUN}}}[$__rate_interval]))"
    for part in ("sum", "count")
)
_WAIT = f"rate(dsray_collective_wait_estimated_seconds_total{{{RANK}}}[$__rate_interval])"
_ALL_WAIT = f"rate(dsray_collective_wait_estimated_seconds_total{{{RUN}}}[$__rate_interval])"
_PHASES = "dsray_train_phase_estimated_seconds_total"


def _quantile(share: float) -> str:
    return during(f"histogram_quantile({share}, sum by ({BY_RUN}, le) ({_BUCKETS}))")


_SPEED = Row(
    question="How fast does it train?",
    panels=(
        panel(
            *("timeseries", "Steps per second", "Global steps of the fastest rank."),
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
            "Mean and quantiles. Steps between two samples count with their mean, so short outliers are invisible.",
            query(during(f"{SUM} / {COUNT}"), "mean"),
            *(query(_quantile(share), f"p{share * 100:.0f}") for share in (0.5, 0.99)),
            unit="s",
            width=8,
            no_value="no step was timed",
        ),
        panel(
            *(
                "timeseries",
                "Global step",
                "DeepSpeed's count; a restart resets it to its checkpoint.",
            ),
            query(during(f"max by ({BY_RUN}) (dsray_train_step{{{RUN}}})"), "foremost rank"),
            query(during(f"min by ({BY_RUN}) (dsray_train_step{{{RUN}}})"), "last rank"),
            unit="none",
            width=8,
        ),
    ),
)
_TIME = Row(
    question="Where does the time go?",
    panels=(
        panel(
            "timeseries",
            "Phases",
            "Share of time in each phase, mean over the ranks. Estimated from samples.",
            query(
                during(f"avg by ({BY_RUN}, phase) (rate({_PHASES}{{{RANK}}}[$__rate_interval]))"),
                "{{phase}}",
            ),
            unit="percentunit",
            stacked=True,
        ),
        panel(
            "timeseries",
            "Waiting for data and user code",
            "Share of time outside the model: data loading, user code, checkpoints, reports. If it is high, the GPUs "
            "are idle.",
            query(
                during(
                    f"avg by ({BY_RUN}, phase) (rate({_PHASES}"
                    f'{{{RANK}, phase=~"data|user|checkpoint|report"}}[$__rate_interval]))'
                ),
                "{{phase}}",
            ),
            unit="percentunit",
            stacked=True,
            no_value="none so far",
        ),
    ),
)
_SLOW = Row(
    question="Which rank slows the others down?",
    panels=(
        panel(
            "timeseries",
            "Waiting in collectives",
            "Share of time for which a rank's training thread waits in collectives. On GPUs the host often does not wait.",
            query(during(_WAIT), "rank {{rank}}"),
            unit="percentunit",
            width=8,
        ),
        panel(
            "timeseries",
            "Waiting less than the mean",
            "How much less than the average a rank waits in collectives: the others wait for the highest. Shows the "
            "ten highest.",
            query(
                during(
                    f"topk(10, avg by ({BY_RUN}) ({_ALL_WAIT}) - on ({BY_RUN}) group_right () ({_WAIT}))"
                ),
                "rank {{rank}}",
            ),
            unit="percentunit",
            width=8,
        ),
        panel(
            "timeseries",
            "Steps behind the foremost rank",
            "More than one for a long time means that the ranks disagree.",
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
            "Number of findings of each kind: slow ranks, stalled data loading, ranks that disagree.",
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
_LEARNS = Row(
    question="Is it still learning?",
    panels=(
        panel(
            "timeseries",
            "Gradient overflow and non-finite loss",
            "Findings about skipped steps (fp16's loss scale decreases) and about a loss that is not finite.",
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
    description="How fast does the run train, where does its time go, which rank slows it down, is it still learning?",
    variables=(CLUSTERS, RUNS, ATTEMPTS, RANKS),
    rows=(_SPEED, _TIME, _SLOW, _LEARNS),
)
