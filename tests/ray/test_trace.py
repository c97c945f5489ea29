"""`trace` on real jobs: spans agree with the job's own log, and nothing is left behind.

The past of a hung job is in tests/ray/test_why.py.
"""

from __future__ import annotations

import glob
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.ray import processes, scenarios
from tests.ray.cluster import Cluster
from tests.ray.inspecting import (
    ranks_by_cause,
    take_snapshot,
    take_whole_snapshot,
    workers_by_rank,
)
from tests.ray.jobs import Job
from tests.ray.test_killed import LASTING, changes, steady_traces

Spans = list[dict[str, Any]]
Document = dict[str, Any]


def trace(cluster: Cluster, job: Job, *args: str) -> Document:
    done = cluster.inspect("trace", job.submission_id, "--json", *args)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    document: Document = json.loads(done.stdout)
    return document


def of_rank(document: Document, rank: int) -> Spans:
    processes = document["timeline"]["processes"]
    (n,) = [i for i, process in enumerate(processes) if process["rank"] == rank]
    return [span for span in document["timeline"]["spans"] if span["process"] == n]


def whole(spans: Spans, kind: str) -> Spans:
    return [span for span in spans if span["kind"] == kind and span["end_ns"] is not None]


def length_ns(span: dict[str, Any]) -> int:
    return int(span["end_ns"] - span["start_ns"])


def names(spans: Spans) -> set[str]:
    return {span["name"] for span in spans}


def rings() -> list[str]:
    return glob.glob("/dev/shm/dsray*")


@pytest.fixture(scope="module", params=[2, 3], ids=["zero2", "zero3"])
def busy(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Job]:
    """A job with every kind of span, and two micro steps per global step."""
    job = cluster.submit(
        *("--zero", str(request.param), "--accumulate", "2", "--objects"),
        *("--report-every", "7", "--save-every", "6", "--step-sleep-s", "0.05"),
        script="busy.py",
    )

    try:
        for rank in (0, 1):
            job.wait_until_step(rank, 4, timeout=2 * processes.START_LIMIT_S)

        yield job
    finally:
        job.stop()


def test_spans_agree_with_the_job(cluster: Cluster, busy: Job) -> None:
    pids = list(busy.pids().values())
    before = [steady_traces(pid) for pid in pids]
    document = trace(cluster, busy, "--seconds", "5")
    stage = 3 if "zero_gather" in names(of_rank(document, 0)) else 2

    for rank in (0, 1):
        spans = of_rank(document, rank)
        steps = whole(spans, "step")
        assert len(steps) >= 3
        check_steps_agree_with_log(steps, busy, rank)
        check_spans_fill_steps(spans, steps)
        check_micro_steps(spans, steps)
        check_collectives(spans, stage)
        assert {"data", "forward", "backward", "optimizer_step", "user"} <= names(spans)

    every = document["timeline"]["spans"]
    assert {"save_checkpoint", "report", "ray.get", "ray.put"} & names(every)
    objects = [span for span in every if span["kind"] == "object"]
    sizes = {span["attributes"].get("dsray.object.size", 0) for span in objects}
    assert not objects or max(sizes) > 50_000 * 4
    assert document["dropped"] == 0
    assert document["notes"] == []
    check_left_alone(busy, pids, before)


def test_every_rank_is_seen_from_inside_and_from_outside(cluster: Cluster, busy: Job) -> None:
    inside = take_whole_snapshot(cluster, busy)
    outside = take_snapshot(cluster, busy, "--no-inject")

    for snapshot in (inside, outside):
        assert sorted(workers_by_rank(snapshot)) == [0, 1]
        assert {worker["evidence"]["stack"] for worker in snapshot["workers"]} == {"ok"}

    (stage,) = {worker["deepspeed"]["zero_stage"] for worker in inside["workers"]}
    assert f"--zero {stage} " in inside["job"]["entrypoint"]
    assert {worker["evidence"]["worker"] for worker in outside["workers"]} == {
        "switched off by --no-inject"
    }


def check_steps_agree_with_log(steps: Spans, job: Job, rank: int) -> None:
    """Each step ended just before the job wrote its line for it, and none is missing."""
    numbers = [span["step"] for span in steps]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # A checkpoint may stand between the end of a step and its line.
    job.wait_until_step(rank, numbers[-1])
    lines = {row.step: row.at for row in job.steps(rank)}

    for span in steps:
        following = lines.get(span["step"] + 1)
        assert span["end_ns"] / 1e9 <= lines[span["step"]] + 0.001
        assert following is None or span["end_ns"] / 1e9 < following


def check_spans_fill_steps(spans: Spans, steps: Spans) -> None:
    """The outermost spans of a step fill it, within 5 %."""
    inner = [span for span in spans if span["kind"] not in ("step", "collective")]

    for step in steps:
        end = step["start_ns"]
        total = 0

        for span in inner:
            if span["step"] == step["step"] and span["end_ns"] and span["start_ns"] >= end:
                total += length_ns(span)
                end = span["end_ns"]

        assert abs(total - length_ns(step)) <= 0.05 * length_ns(step), step


def check_micro_steps(spans: Spans, steps: Spans) -> None:
    for step in steps:
        forwards = [
            span["micro_step"]
            for span in spans
            if span["name"] == "forward" and span["step"] == step["step"]
        ]
        assert forwards == [0, 1]


def check_collectives(spans: Spans, stage: int) -> None:
    found = [span for span in spans if span["kind"] == "collective"]
    assert "all_reduce" in names(found)
    assert ("zero_gather" in names(spans)) == (stage == 3)

    for span in found:
        attributes = span["attributes"]
        assert attributes["dsray.collective.system.name"] == "gloo"
        assert attributes["dsray.collective.group.size"] == 2
        assert attributes["dsray.collective.sequence.id"] > 0
        assert attributes["dsray.collective.end.source"] in ("next", "last_entry", "open")

    sizes = {span["attributes"].get("dsray.collective.message.size") for span in found}
    # ZeRO-2 reduces all gradients at once, in fp32.
    assert stage == 3 or 16_640 * 4 in sizes


def check_left_alone(job: Job, pids: list[int], before: list[dict[str, Any]]) -> None:
    job.assert_moving()
    processes.wait_for(
        "the ranks to be as they were",
        lambda: not any(changes(pid, before, LASTING) for pid in pids),
    )
    assert not [path for path in rings() if any(f"-{pid}-" in path for pid in pids)]


def start_trace(cluster: Cluster, job: Job, seconds: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *("dsray-inspect", "trace", job.submission_id, "--address", cluster.address),
            *("--seconds", seconds, "--json"),
        ],
        env=cluster.env,
        cwd=cluster.dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_rings(job: Job) -> None:
    pids = list(job.pids().values())
    processes.wait_for(
        "a ring in each rank",
        lambda: all(glob.glob(f"/dev/shm/dsray-{pid}-*") for pid in pids),
    )


def wait_until_rings_are_gone(job: Job) -> None:
    pids = list(job.pids().values())
    processes.wait_for(
        "the rings to be gone",
        lambda: not any(glob.glob(f"/dev/shm/dsray-{pid}-*") for pid in pids),
    )


def test_ctrl_c_ends_it_early_and_cleanly(cluster: Cluster, healthy_job: Job) -> None:
    tracer = start_trace(cluster, healthy_job, "300")
    wait_for_rings(healthy_job)
    time.sleep(1)  # so that there are spans
    tracer.send_signal(signal.SIGINT)
    out, err = tracer.communicate(timeout=60)
    assert tracer.returncode == 130, err
    assert rings_of(healthy_job) == []
    assert json.loads(out)["summary"]["spans"] > 0
    healthy_job.assert_moving()


def rings_of(job: Job) -> list[str]:
    return [path for pid in job.pids().values() for path in glob.glob(f"/dev/shm/dsray-{pid}-*")]


def test_the_probe_leaves_within_its_lease_when_its_session_is_killed(
    cluster: Cluster, healthy_job: Job
) -> None:
    pids = list(healthy_job.pids().values())
    trace(cluster, healthy_job, "--seconds", "0.5")
    before = [steady_traces(pid) for pid in pids]
    tracer = start_trace(cluster, healthy_job, "300")
    wait_for_rings(healthy_job)
    tracer.kill()
    tracer.communicate()
    killed = time.monotonic()
    wait_until_rings_are_gone(healthy_job)
    assert time.monotonic() - killed < 30 + 10
    check_left_alone(healthy_job, pids, before)


def test_two_sessions_trace_at_once(cluster: Cluster, healthy_job: Job) -> None:
    tracers = [start_trace(cluster, healthy_job, seconds) for seconds in ("3", "6")]
    answers = [tracer.communicate(timeout=120) for tracer in tracers]

    for out, err in answers:
        document = json.loads(out)
        assert document["notes"] == [], err
        assert document["dropped"] == 0
        assert len(whole(of_rank(document, 0), "step")) >= 3

    assert rings_of(healthy_job) == []
    healthy_job.assert_moving()


def test_the_file_opens_in_perfetto(cluster: Cluster, healthy_job: Job, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    done = cluster.inspect("trace", healthy_job.submission_id, "--seconds", "2", "-o", str(path))
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stderr
    events = json.loads(path.read_text())["traceEvents"]
    named = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert {name.split(" · ")[0] for name in named} == {"rank 0", "rank 1"}
    assert {"step", "forward", "all_reduce"} <= {event["name"] for event in events}


def test_the_past_of_a_job_that_nobody_watched(cluster: Cluster, healthy_job: Job) -> None:
    document = trace(cluster, healthy_job, "--past")
    assert document["summary"]["inferred"]
    lines = {rank: healthy_job.steps(rank) for rank in (0, 1)}

    for rank in (0, 1):
        steps = whole(of_rank(document, rank), "step")
        begin = steps[0]["start_ns"] / 1e9
        end = steps[-1]["end_ns"] / 1e9
        logged = [row for row in lines[rank] if begin <= row.at <= end]
        assert abs(len(steps) - len(logged)) <= 1


def test_a_killed_rank_leaves_its_last_span_open_and_is_blamed(cluster: Cluster) -> None:
    job = scenarios.training(cluster, "--step-sleep-s", "0.05")
    pids = job.pids()
    tracer = start_trace(cluster, job, "8")
    wait_for_rings(job)
    done = len(job.steps(1))
    job.wait_until_step(1, done + 4)
    psutil.Process(pids[1]).kill()
    out, err = tracer.communicate(timeout=120)
    job.wait_until_ended()
    snapshot = take_snapshot(cluster, job)
    document = json.loads(out)
    spans = [span for span in of_rank(document, 1) if span["kind"] != "collective"]
    assert len(whole(spans, "step")) >= 2, err
    assert spans[-1]["end_ns"] is None
    assert spans[-1]["name"] in ("data", "forward", "backward", "grad_reduce", "optimizer_step")
    assert not glob.glob(f"/dev/shm/dsray-{pids[1]}-*")
    assert ranks_by_cause(snapshot) == {"worker_dead": [1]}


def test_plain_torch_gives_collectives_reports_and_steps(cluster: Cluster) -> None:
    job = cluster.submit(
        *("--ddp", "--report-every", "5", "--step-sleep-s", "0.05"), script="busy.py"
    )

    for rank in (0, 1):
        job.wait_until_step(rank, 20)

    document = trace(cluster, job, "--seconds", "4")
    job.stop()

    for rank in (0, 1):
        spans = of_rank(document, rank)
        assert {"all_reduce", "report"} <= names(spans)
        assert len(whole(spans, "step")) >= 3


def test_without_injection_there_is_no_trace(cluster: Cluster, healthy_job: Job) -> None:
    done = cluster.inspect("trace", healthy_job.submission_id, "--no-inject")
    assert done.returncode == 2
    assert "--no-inject" in done.stderr
