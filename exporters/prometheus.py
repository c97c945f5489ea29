"""Our metrics for Prometheus: made afresh for each scrape, on a registry of their own."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

# A trainer's shell may have set it for its own metrics: prometheus_client would write files there
# and would refuse collectors like ours.
for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(name, None)

import psutil  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402
from prometheus_client.core import Metric as Family  # noqa: E402

from dsray_inspect.agent import __version__  # noqa: E402
from dsray_inspect.exporters import metrics as m  # noqa: E402
from dsray_inspect.exporters.latest_sample import LatestSample  # noqa: E402
from dsray_inspect.exporters.samples import Sample  # noqa: E402

KINDS: Final = {"stateset": "gauge"}
"""OpenMetrics wants a state set's label named as its family is; ours is `state`, for joins."""
SUFFIXES: Final = {"counter": "_total", "info": "_info"}
"""What prometheus_client adds to the names of families."""
NO_SAMPLES: Final = "no samples"


class Collector:
    """Yields every family of the catalogue that has samples now.

    `more` gives samples of other parts, such as the OpenTelemetry exporter's.
    """

    def __init__(self, latest: LatestSample, more: Callable[[], Iterable[Sample]] = tuple) -> None:
        self._latest = latest
        self._more = more
        self._process = psutil.Process()

    def describe(self) -> list[Family]:
        """Return nothing: what there is to collect changes with the run."""
        return []

    def collect(self) -> Iterator[Family]:
        started = time.perf_counter()
        samples = [*self._latest.samples(), *self._agent_samples(), *self._more()]
        grouped: dict[str, list[Sample]] = {}

        for sample in samples:
            grouped.setdefault(sample[0].name, []).append(sample)

        took_s = time.perf_counter() - started
        grouped[m.SCRAPE_DURATION.name] = [(m.SCRAPE_DURATION, (), took_s)]

        for metric in m.CATALOGUE:
            if metric.name in grouped:
                yield family_of(metric, grouped[metric.name])

    def _agent_samples(self) -> Iterator[Sample]:
        board, snapshot = self._latest, self._latest.snapshot
        own, children = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        yield m.BUILD_INFO, (__version__, platform.python_version()), 1
        yield m.LOOKS, (), board.looks
        yield m.LOOK_FAILURES, (), board.failures
        yield m.AGENT_CPU, ("session",), own.ru_utime + own.ru_stime
        yield m.AGENT_CPU, ("stacks",), children.ru_utime + children.ru_stime
        yield m.AGENT_MEMORY, (), self._process.memory_info().rss

        if snapshot is not None:
            yield m.LOOK_DURATION, (), snapshot.took_s
            yield m.LOOK_TIME, (), snapshot.taken_at


def family_of(metric: m.Metric, samples: Iterable[Sample]) -> Family:
    """Return the family that prometheus_client writes out."""
    name = metric.name.removesuffix(SUFFIXES.get(metric.type, NO_SAMPLES))
    family = Family(name, metric.help, KINDS.get(metric.type, metric.type), metric.unit)

    if metric.type == "histogram":
        for _, (*labels, part), value in samples:
            add_to_histogram(family, dict(zip(metric.labels, labels, strict=True)), part, value)
    else:
        for _, values, value in samples:
            family.add_sample(metric.name, dict(zip(metric.labels, values, strict=True)), value)

    return family


def add_to_histogram(family: Family, labels: dict[str, str], part: str, value: float) -> None:
    """Add a bucket by its upper end, the sum or the count."""
    if part in ("sum", "count"):
        family.add_sample(f"{family.name}_{part}", labels, value)
    else:
        family.add_sample(f"{family.name}_bucket", {**labels, "le": part}, value)


def registry(collector: Collector) -> CollectorRegistry:
    """Return a registry with nothing but ours, never the global one."""
    own = CollectorRegistry()
    own.register(collector)
    return own
