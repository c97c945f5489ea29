"""`serve` on real jobs: scraped as Prometheus would, through a restart of the group and to the end.

A job that hangs is served in test_why.py.
"""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from dsray_inspect.exporters.metrics import SERIES
from tests.ray import processes, scenarios
from tests.ray.cluster import Cluster
from tests.ray.inspecting import take_snapshot, workers_by_rank
from tests.receiver import attributes, receiving


class Served:
    """A running `serve`; its output goes to files, so that it never waits for the test."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder

    def text(self, name: str) -> str:
        return (self._folder / name).read_text()

    def target(self) -> str:
        """Return the address it listens on, found as Prometheus finds it."""
        path = self._folder / "targets.json"
        answer = processes.wait_for("the file for service discovery", lambda: path.exists())
        assert answer
        (group,) = json.loads(path.read_text())
        (target,) = group["targets"]
        return str(target)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.target()}{path}", timeout=60) as answer:
            body: bytes = answer.read()
        return body

    def scrape(self) -> list[Sample]:
        text = self.get("/metrics").decode()
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        assert {sample.name for sample in samples} <= SERIES
        return samples

    def wait_for(self, what: str, probe: Any, *, timeout: float = 180) -> Any:
        def probe_samples() -> Any:
            assert self.process.poll() is None, self.text("stderr")
            return probe(self.scrape())

        return processes.wait_for(what, probe_samples, timeout=timeout, every=0.3)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def serving(
    cluster: Cluster, folder: Path, *args: str, env: Mapping[str, str] = {}
) -> Iterator[Served]:
    argv = [
        *("dsray-inspect", "serve", "--address", cluster.address, "--listen", "127.0.0.1:0"),
        *("--every", "0.5", "--sd-file", str(folder / "targets.json"), *args),
    ]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            argv, env=cluster.env | dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    try:
        yield Served(process, folder)
    finally:
        process.kill()
        process.wait()


def values(samples: list[Sample], name: str, **labels: str) -> dict[str, float]:
    """Return the values by rank, of the series that have these labels."""
    return {
        sample.labels.get("rank", ""): sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    }


def pids(samples: list[Sample]) -> dict[int, int]:
    return {
        int(sample.labels["rank"]): int(sample.labels["pid"])
        for sample in samples
        if sample.name == "dsray_rank_info"
    }


def check_spans(spans: list[Span]) -> None:
    """Every parent is there, times and ids are sound, and no secret of the job is in any of them."""
    ids = {(span.trace_id, span.span_id) for span in spans}
    assert len(ids) == len(spans)
    for span in spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert not span.parent_span_id or (span.trace_id, span.parent_span_id) in ids
    everything = json.dumps([attributes(span.attributes) for span in spans])
    assert "planted" not in everything
    ranks = {attributes(span.attributes).get("dsray.rank.world") for span in spans}
    assert {0, 1} <= ranks


def test_a_job_from_before_its_start_through_a_restart_to_its_end(
    cluster: Cluster, tmp_path: Path
) -> None:
    with (
        receiving() as collector,
        serving(
            *(cluster, tmp_path, "served", "--wait", "--json"),
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url},
        ) as served,
    ):
        none_yet = served.scrape()
        assert not values(none_yet, "dsray_run_ranks")
        assert served.get("/healthz") == b"ok\n"

        job = cluster.submit(
            *("--step-sleep-s", "0.1", "--max-failures", "1", "--workers", "2"),
            submission_id="served",
            env=scenarios.SECRETS,
        )
        job.wait_until_step(1, 5)
        first = served.wait_for(
            "steps of both ranks",
            lambda samples: (
                samples
                if len(values(samples, "dsray_train_steps_total")) == 2
                and min(values(samples, "dsray_train_steps_total").values()) > 0
                else None
            ),
        )
        assert pids(first) == job.pids()
        now = max(row.step for rank in (0, 1) for row in job.steps(rank))
        assert all(0 < step <= now + 1 for step in values(first, "dsray_train_step").values())
        served.wait_for(
            "step times", lambda s: values(s, "dsray_train_step_duration_seconds_count")[""] > 0
        )

        names = {"train.step", "train.start", "all_reduce"}
        served.wait_for("spans", lambda _: names <= {span.name for span in collector.spans})

        before = job.pids()
        psutil.Process(before[1]).kill()
        job.wait_for(
            "another group trains", lambda: not set(job.pids().values()) & set(before.values())
        )
        again = served.wait_for(
            "the new group alone", lambda samples: samples if pids(samples) == job.pids() else None
        )
        assert values(again, "dsray_run_group_restarts_total") == {"": 1}
        snapshot = take_snapshot(cluster, job)
        assert {rank: w["pid"] for rank, w in workers_by_rank(snapshot).items()} == job.pids()
        assert {s.labels["run_id"] for s in again if "run_id" in s.labels} == {
            s.labels["run_id"] for s in first if "run_id" in s.labels
        }
        for rank, steps in values(first, "dsray_train_steps_total").items():
            assert values(again, "dsray_train_steps_total")[rank] >= steps

        job.stop()
        # The scrape that sees the end also lets it go on.
        served.wait_for(
            "how it ended", lambda s: values(s, "dsray_verdict", state="finished") == {"": 1}
        )
        served.wait_for("its series to go", lambda samples: not values(samples, "dsray_run_ranks"))
        assert served.end(signal.SIGTERM) == 130
        check_spans(collector.distinct_spans)
        assert not (tmp_path / "targets.json").exists()

    lines = [json.loads(line) for line in served.text("stdout").splitlines()]
    states = [line["verdict"]["state"] for line in lines]
    assert "healthy" in states
    assert states.index("finished") == len(states) - 1, "a run that is still to come is not over"
    assert {line["job"] for line in lines} == {"served"}
    assert "Traceback" not in served.text("stderr")


def test_what_cannot_be_served_is_said_in_one_sentence(cluster: Cluster, tmp_path: Path) -> None:
    with serving(cluster, tmp_path, "nobody", "--wait") as served:
        target = served.target()
        for args, says in (
            (("--listen", target), "is in use"),
            (("--listen", "0.0.0.0:0"), "no token is set"),
            (("--listen", "127.0.0.1:0", "nobody-else"), "no job or run called nobody-else"),
        ):
            done = cluster.inspect("serve", *args)
            assert done.returncode in (2, 3), done
            assert says in done.stderr
            assert len(done.stderr.splitlines()) == 2, done.stderr
        assert served.end(signal.SIGINT) == 130
    assert "no job or run called nobody" in served.text("stderr")
