"""The catalogue keeps Prometheus's rules, and docs/metrics.md is made of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsray_inspect.exporters import metrics_page
from dsray_inspect.exporters.metrics import CATALOGUE, SERIES, STEP_BUCKETS_S, Metric

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
# The writing guide's, and what Prometheus itself sets.
FORBIDDEN = {"type", "region", "stage", "service", "env", "job", "instance", "le", "quantile"}
ONLY_ON_INFO = {"pid", "ray_actor_id", "ip", "hostname"}


def test_the_page_is_that_of_the_catalogue() -> None:
    assert PAGE.read_text() == metrics_page.page(), "run `make metrics-page`"


def test_every_metric_is_on_the_page() -> None:
    assert all(f"| `{metric.name}` |" in metrics_page.page() for metric in CATALOGUE)


def test_names_are_there_once() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert {"dsray_train_step", "dsray_train_step_duration_seconds_bucket"} <= SERIES
    assert "dsray_train_step_duration_seconds" not in SERIES


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_rules(metric: Metric) -> None:
    assert re.fullmatch(r"dsray_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert metric.name.endswith("_info") == (metric.type == "info")
    stem = metric.name.removesuffix("_total")
    assert metric.unit == "" or stem.endswith(f"_{metric.unit}")
    assert not any(stem.endswith(f"_{unit}") for unit in ("ms", "mb", "percent", "count"))
    assert set(metric.labels) & FORBIDDEN == set()
    assert metric.type == "info" or set(metric.labels) & ONLY_ON_INFO == set()
    assert len(set(metric.labels)) == len(metric.labels)
    assert metric.help.endswith(".")
    assert "\n" not in metric.help


def test_buckets_grow() -> None:
    assert list(STEP_BUCKETS_S) == sorted(set(STEP_BUCKETS_S))
