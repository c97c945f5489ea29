"""What a scrape gives: series of the newest sample, of the catalogue only, clean for promtool."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from dsray_inspect.agent.model import (
    Cost,
    Gpu,
    InitPhase,
    Snapshot,
    StartPart,
    Startup,
    WorkerGpu,
)
from dsray_inspect.exporters.latest_sample import LatestSample
from dsray_inspect.exporters.metrics import CATALOGUE, SERIES
from dsray_inspect.exporters.prometheus import Collector, registry
from tests.unit import snapshots

HUNG = snapshots.recorded("hung")
RUN = HUNG.run.id if HUNG.run and HUNG.run.id else ""


def board(*seen: Snapshot) -> LatestSample:
    latest = LatestSample()
    for snapshot in seen:
        latest.put(snapshot)
    return latest


def text(latest: LatestSample) -> str:
    return generate_latest(registry(Collector(latest))).decode()


def scraped(latest: LatestSample) -> list[Sample]:
    return [
        sample
        for family in text_string_to_metric_families(text(latest))
        for sample in family.samples
    ]


def values(samples: list[Sample], name: str, **labels: str) -> Iterator[float]:
    for sample in samples:
        if sample.name == name and labels.items() <= sample.labels.items():
            yield sample.value


def value(samples: list[Sample], name: str, **labels: str) -> float:
    (found,) = values(samples, name, **labels)
    return found


def with_gpus() -> Snapshot:
    gpu = Gpu(
        index=0,
        uuid="GPU-1",
        name="H100",
        utilization=0.25,
        memory_used_bytes=3 << 30,
        memory_total_bytes=80 << 30,
    )
    nodes = tuple(msgspec.structs.replace(node, gpus=(gpu,)) for node in HUNG.nodes)
    slot = WorkerGpu(slot=0, visible="0", uuid="GPU-1")
    return snapshots.changed(msgspec.structs.replace(HUNG, nodes=nodes), 0, rank=1, gpus=(slot,))


def test_the_facts_of_a_hung_run() -> None:
    samples = scraped(board(HUNG, snapshots.changed(HUNG, 2.0)))
    assert value(samples, "dsray_verdict", state="hung", run_id=RUN) == 1
    assert sum(values(samples, "dsray_verdict")) == 1
    assert value(samples, "dsray_findings", kind="rank_blocked_in_user_code", severity="error") == 1
    assert sum(values(samples, "dsray_findings")) == 1
    assert value(samples, "dsray_rank_culprit", rank="1") == 1
    assert value(samples, "dsray_rank_phase", rank="0", phase="grad_reduce") == 1
    assert value(samples, "dsray_collective_pending", rank="0") == 1
    assert value(samples, "dsray_collective_pending", rank="1") == 0
    assert value(samples, "dsray_collective_wait_estimated_seconds_total", rank="2") == 2
    assert value(samples, "dsray_train_step", rank="1") == 20
    assert value(samples, "dsray_run_ranks") == 3
    assert value(samples, "dsray_looks_total") == 2
    (info,) = (
        sample
        for sample in samples
        if sample.name == "dsray_rank_info" and sample.labels["rank"] == "1"
    )
    assert info.labels["pid"] == str(HUNG.workers[1].pid)
    assert info.labels["ray_actor_id"] == HUNG.workers[1].actor_id


def test_gpus_join_by_uuid() -> None:
    samples = scraped(board(with_gpus()))
    assert value(samples, "dsray_gpu_utilization_ratio", gpu_uuid="GPU-1") == 0.25
    assert value(samples, "dsray_gpu_memory_used_bytes", gpu_uuid="GPU-1") == 3 << 30
    assert value(samples, "dsray_gpu_memory_limit_bytes", gpu_uuid="GPU-1") == 80 << 30
    assert value(samples, "dsray_rank_gpu_info", gpu_uuid="GPU-1", rank="1") == 1
    assert value(samples, "dsray_rank_info", gpu_uuid="GPU-1", rank="1") == 1


def test_what_the_start_took_and_what_everything_costs() -> None:
    parts = (StartPart(name="process_start", seconds=3.5), StartPart(name="imports", seconds=9.0))
    startup = Startup(began_at=1.0, seconds=12.5, until="train_func", restart=False, parts=parts)
    costs = (
        Cost(name="training", seconds=100.0, evidence="the controller's log"),
        Cost(name="report", seconds=None, evidence="nothing tells"),
    )
    engines = [worker.deepspeed for worker in HUNG.workers]
    assert engines[0] is not None
    init = (InitPhase(phase="config", seconds=0.5),)
    snapshot = snapshots.changed(
        msgspec.structs.replace(HUNG, startup=startup, costs=costs),
        0,
        rank=0,
        deepspeed=msgspec.structs.replace(engines[0], init=init),
    )
    samples = scraped(board(snapshot))
    assert value(samples, "dsray_startup_seconds", part="imports") == 9
    assert value(samples, "dsray_run_cost_seconds", part="training") == 100
    assert not list(values(samples, "dsray_run_cost_seconds", part="report"))
    assert value(samples, "dsray_deepspeed_init_seconds", phase="config") == 0.5


def test_series_of_processes_and_ranks_that_are_gone_go() -> None:
    again = snapshots.restarted(HUNG, 10)
    smaller = msgspec.structs.replace(again, workers=again.workers[:2])
    latest = board(HUNG)
    before = scraped(latest)
    latest.put(smaller)
    after = scraped(latest)
    assert len(list(values(before, "dsray_rank_info"))) == 3
    pids = {sample.labels["pid"] for sample in after if sample.name == "dsray_rank_info"}
    assert pids == {str(worker.pid + 1000) for worker in HUNG.workers[:2]}
    assert {sample.labels.get("rank") for sample in after} == {None, "0", "1"}
    assert value(after, "dsray_run_group_restarts_total") == 1


def test_the_next_run_begins_anew() -> None:
    assert HUNG.run is not None
    other = msgspec.structs.replace(
        snapshots.restarted(HUNG, 10), run=msgspec.structs.replace(HUNG.run, id="another")
    )
    samples = scraped(board(HUNG, snapshots.at_step(HUNG, 1, 30), other))
    assert {sample.labels["run_id"] for sample in samples if "run_id" in sample.labels} == {
        "another"
    }
    assert value(samples, "dsray_run_group_restarts_total") == 0
    assert value(samples, "dsray_train_steps_total", rank="0") == 0


def test_without_a_run_only_our_own_state_is_told() -> None:
    latest = board(HUNG)
    latest.clear()
    names = {sample.name for sample in scraped(latest)}
    assert names == {
        "dsray_build_info",
        "dsray_looks_total",
        "dsray_look_failures_total",
        "dsray_scrape_duration_seconds",
        "dsray_agent_cpu_seconds_total",
        "dsray_agent_resident_memory_bytes",
    }


def test_a_failed_sample_leaves_what_was_seen_with_its_time() -> None:
    latest = board(HUNG)
    latest.note_failure()
    samples = scraped(latest)
    assert value(samples, "dsray_look_failures_total") == 1
    assert value(samples, "dsray_look_timestamp_seconds") == HUNG.taken_at
    assert value(samples, "dsray_verdict", state="hung") == 1


@pytest.mark.parametrize("name", ["healthy", "hung", "pending", "stopped"])
def test_every_sample_is_in_the_catalogue_with_its_labels(name: str) -> None:
    labels = {series: set(metric.labels) for metric in CATALOGUE for series in metric.series}
    for sample in scraped(board(snapshots.recorded(name))):
        assert sample.name in SERIES
        assert set(sample.labels) - {"le"} == labels[sample.name], sample.name


def test_it_is_openmetrics_too() -> None:
    own = registry(Collector(board(with_gpus(), snapshots.changed(HUNG, 1))))
    written = openmetrics(own)  # type: ignore[no-untyped-call]
    families = list(read_openmetrics(written.decode()))  # type: ignore[no-untyped-call]
    assert "dsray_train_steps" in {family.name for family in families}


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (Debian: prometheus)")
@pytest.mark.parametrize("snapshot", [HUNG, with_gpus(), snapshots.recorded("pending")])
def test_promtool_finds_nothing_to_mend(snapshot: Snapshot) -> None:
    written = text(board(snapshot, snapshots.changed(snapshot, 1)))
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=written, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_directory_for_multiprocess_metrics_is_left_alone(tmp_path: Path) -> None:
    code = (
        "from dsray_inspect.exporters.latest_sample import LatestSample\n"
        "from dsray_inspect.exporters.prometheus import Collector, registry\n"
        "from prometheus_client import generate_latest\n"
        "assert b'dsray_build_info' in generate_latest(registry(Collector(LatestSample())))\n"
    )
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_each_rank_has_few_series() -> None:
    """A rank's own are counted, so that 1,024 ranks stay within what a Prometheus takes."""

    def size(ranks: int) -> int:
        return len(scraped(board(snapshots.many_ranks(HUNG, ranks))))

    assert (size(64) - size(32)) / 32 <= 22
