"""Metrics for Prometheus, computed at each scrape, in a private registry."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

# The shell may have set these for a trainer's metrics. prometheus_client would write files there and
# refuse custom collectors.
for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(name, None)

import psutil  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402
from prometheus_client.core import Metric as Family  # noqa: E402

from dsray_inspect.agent import __version__  # noqa: E402
from dsray_inspect.exporters import metrics as m  # noqa: E402
from dsray_inspect.exporters.latest_sample import LatestSample  # noqa: E402
from dsray_inspect.exporters.samples import MetricSample  # noqa: E402

_KINDS: Final = {"stateset": "gauge"}
"""OpenMetrics names a state set's label after its family; `state` is easier to join by."""
_SUFFIXES: Final = {"counter": "_total", "info": "_info"}
"""The suffixes that prometheus_client adds to family names."""
_NO_SAMPLES: Final = "no samples"


class Collector:
    """Yields every metric of the catalogue that has a value now.

    Args:
        latest: The newest snapshot.
        more: Returns the values of other components, such as the OpenTelemetry exporter.
    """

    def __init__(
        self, latest: LatestSample, more: Callable[[], Iterable[MetricSample]] = tuple
    ) -> None:
        self._latest = latest
        self._more = more
        self._process = psutil.Process()

    def describe(self) -> list[Family]:
        """Return nothing: which metrics exist changes with the run."""
        return []

    def collect(self) -> Iterator[Family]:
        started = time.perf_counter()
        samples = [*self._latest.metric_samples(), *self._own_samples(), *self._more()]
        grouped: dict[str, list[MetricSample]] = {}

        for sample in samples:
            grouped.setdefault(sample[0].name, []).append(sample)

        took_s = time.perf_counter() - started
        grouped[m.SCRAPE_DURATION.name] = [(m.SCRAPE_DURATION, (), took_s)]

        for metric in m.CATALOGUE:
            if metric.name in grouped:
                yield _family(metric, grouped[metric.name])

    def _own_samples(self) -> Iterator[MetricSample]:
        latest, snapshot = self._latest, self._latest.snapshot
        own, children = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        yield m.BUILD_INFO, (__version__, platform.python_version()), 1
        yield m.LOOKS, (), latest.samples_taken
        yield m.LOOK_FAILURES, (), latest.failures
        yield m.AGENT_CPU, ("session",), own.ru_utime + own.ru_stime
        yield m.AGENT_CPU, ("stacks",), children.ru_utime + children.ru_stime
        yield m.AGENT_MEMORY, (), self._process.memory_info().rss

        if snapshot is not None:
            yield m.LOOK_DURATION, (), snapshot.took_s
            yield m.LOOK_TIME, (), snapshot.taken_at


def _family(metric: m.Metric, samples: Iterable[MetricSample]) -> Family:
    """Return a metric with its values in the form that prometheus_client writes."""
    name = metric.name.removesuffix(_SUFFIXES.get(metric.type, _NO_SAMPLES))
    family = Family(name, metric.help, _KINDS.get(metric.type, metric.type), metric.unit)

    if metric.type == "histogram":
        for _, (*labels, part), value in samples:
            _add_to_histogram(family, dict(zip(metric.labels, labels, strict=True)), part, value)
    else:
        for _, values, value in samples:
            family.add_sample(metric.name, dict(zip(metric.labels, values, strict=True)), value)

    return family


def _add_to_histogram(family: Family, labels: dict[str, str], part: str, value: float) -> None:
    """Add a bucket (`part` is its upper bound), the sum or the count."""
    if part in ("sum", "count"):
        family.add_sample(f"{family.name}_{part}", labels, value)
    else:
        family.add_sample(f"{family.name}_bucket", {**labels, "le": part}, value)


def registry(collector: Collector) -> CollectorRegistry:
    """Return a registry with nothing else in it, never the global one."""
    own = CollectorRegistry()
    own.register(collector)
    return own
