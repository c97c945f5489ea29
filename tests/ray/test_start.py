"""How a run started: a job that knows nothing of us, and jobs that `submit` started."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ray import scenarios
from tests.ray.cluster import Cluster, checked
from tests.ray.inspecting import (
    Snapshot,
    take_snapshot,
    take_whole_snapshot,
    training_frames,
    workers_by_rank,
)
from tests.ray.jobs import Job
from tests.ray.processes import is_in
from tests.ray.submission import JOBS, Submission

SHAPE = ("--compile-ops", "--step-sleep-s", "0.1")
STEPS = 8
COMPILE_LIMIT_S = 400.0
"""The first job on a machine compiles the op, which takes minutes on a busy one."""
NO_PTRACE = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="gives rights away"
)


def submit(cluster: Cluster, *args: str, **runtime_env: Any) -> Job:
    """Submit a job by `dsray-inspect submit`, with a user's own runtime environment."""
    name = f"submitted-{time.monotonic_ns()}"
    out = cluster.dir / "out" / name
    out.mkdir(parents=True)
    argv = Submission(name, out, ("train.py", *args), runtime_env=runtime_env).argv(cluster.url)
    assert argv[:3] == ["ray", "job", "submit"]
    submitted_at = time.time()
    checked(cluster.run("dsray-inspect", "submit", *argv[3:], timeout=180))
    return Job(name, out, cluster.call, submitted_at=submitted_at)


@pytest.fixture(scope="module")
def plain_job(cluster: Cluster) -> Iterator[Job]:
    """A job that `ray job submit` started; it builds DeepSpeed's op, as `recorded` does."""
    job = cluster.submit(*SHAPE, cold=True)
    for rank in (0, 1):
        job.wait_until_step(rank, STEPS, timeout=COMPILE_LIMIT_S)
    yield job
    job.stop()


@pytest.fixture(scope="module")
def recorded(cluster: Cluster) -> Iterator[Job]:
    job = submit(
        cluster,
        *SHAPE,
        env_vars={"PYTHONPATH": str(JOBS), "SET_BY_THE_USER": "yes"},
        worker_process_setup_hook="hooks.leave_a_mark",
    )
    for rank in (0, 1):
        job.wait_until_step(rank, STEPS)
    yield job
    job.stop()


def parts_of(snapshot: Snapshot) -> dict[str, float]:
    return {part["name"]: part["seconds"] for part in snapshot["startup"]["parts"]}


def costs_of(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    return {cost["name"]: cost for cost in snapshot["costs"]}


def test_a_job_without_us_has_its_start(cluster: Cluster, plain_job: Job) -> None:
    snapshot = take_snapshot(cluster, plain_job)
    startup, parts = snapshot["startup"], parts_of(snapshot)

    assert (startup["until"], startup["restart"]) == ("train_func", False)
    assert sum(parts.values()) == pytest.approx(startup["seconds"], abs=1e-3)
    assert {"controller", "process_start", "imports", "rendezvous"} <= set(parts)
    first = min(plain_job.steps(rank)[0].at for rank in (0, 1))
    assert plain_job.submitted_at <= startup["began_at"]
    assert startup["began_at"] + startup["seconds"] <= first
    assert parts["imports"] > 0.1
    training = costs_of(snapshot)["training"]["seconds"]
    assert startup["began_at"] + startup["seconds"] + training == pytest.approx(
        snapshot["taken_at"], abs=0.1
    )


def test_what_it_does_not_know_is_null_with_the_reason(cluster: Cluster, plain_job: Job) -> None:
    snapshot = take_whole_snapshot(cluster, plain_job)
    costs = costs_of(snapshot)
    assert costs["deepspeed_init"]["seconds"] is None
    assert "dsray-inspect submit" in costs["deepspeed_init"]["evidence"]
    assert all(cost["evidence"] for cost in costs.values())

    for worker in snapshot["workers"]:
        assert "dsray-inspect submit" in worker["evidence"]["init"]
        names = {phase["phase"] for phase in worker["deepspeed"]["init"]}
        assert names <= {"op_compile:deepspeed_shm_comm"}


def test_it_is_one_line_of_the_report(cluster: Cluster, plain_job: Job) -> None:
    done = cluster.inspect("attach", plain_job.submission_id)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("start-up")]
    assert " s to your function: controller " in line or " min " in line
    assert "submit` records them" in done.stdout


def test_a_submitted_job_has_every_phase(cluster: Cluster, recorded: Job) -> None:
    snapshot = take_whole_snapshot(cluster, recorded)
    startup, parts = snapshot["startup"], parts_of(snapshot)

    assert (startup["until"], startup["notes"]) == ("first_step", [])
    assert sum(parts.values()) == pytest.approx(startup["seconds"], abs=1e-3)
    ended = startup["began_at"] + startup["seconds"]
    first = max(recorded.steps(rank)[0].at for rank in (0, 1))
    assert ended == pytest.approx(first, abs=0.5)

    for worker in snapshot["workers"]:
        init = {phase["phase"]: phase["seconds"] for phase in worker["deepspeed"]["init"]}
        inside = ("init_distributed", "config", "engine")
        assert sum(init[name] for name in inside) <= init["initialize"]
        assert sum(init[name] for name in inside) == pytest.approx(init["initialize"], abs=0.5)
        assert init["op_compile:deepspeed_shm_comm"] <= init["init_distributed"]
        assert {"broadcast", "optimizer", "optimizer_check", "zero_partition"} <= set(init)
        assert init["import torch._dynamo"] <= init["basic_optimizer"]
        assert worker["evidence"]["init"] == "ok"

    assert costs_of(snapshot)["op_compile"]["detail"].startswith("deepspeed_shm_comm")


def test_what_the_user_set_survives(cluster: Cluster, recorded: Job) -> None:
    for worker in workers_by_rank(take_snapshot(cluster, recorded)).values():
        env = {name: variable["value"] for name, variable in worker["env"].items()}
        assert env["SET_BY_THE_USER"] == env["SET_BY_THE_USERS_HOOK"] == "yes"
        assert str(JOBS) in env["PYTHONPATH"].split(":")


def test_it_trains_the_same(plain_job: Job, recorded: Job) -> None:
    for rank in (0, 1):
        ours = [row.loss for row in recorded.steps(rank)[:STEPS]]
        assert ours == [row.loss for row in plain_job.steps(rank)[:STEPS]]


def test_after_the_first_step_nothing_of_us_is_on_a_stack(cluster: Cluster, recorded: Job) -> None:
    for _ in range(3):
        for frames in training_frames(take_snapshot(cluster, recorded)).values():
            assert not [frame for frame in frames if "sitecustomize" in frame["file"]]


@needs_root
def test_a_scripts_own_hook_survives_and_its_stacks_need_no_ptrace(cluster: Cluster) -> None:
    """The script's `ray.init` has a setup hook of its own, which makes rank 1 late."""
    job = submit(cluster, "--fault", "late")

    try:
        job.wait_for(
            "rank 1 is late",
            lambda: any(is_in(actor.pid, "be_late") for actor in job.actors()),
            every=scenarios.STACKS_EVERY_S,
        )
        done = cluster.run(
            *NO_PTRACE, "dsray-inspect", "attach", "--json", "--address", cluster.address,
            job.submission_id,
        )  # fmt: skip
        snapshot = json.loads(done.stdout)
    finally:
        job.stop()

    ranks = workers_by_rank(snapshot)
    assert {worker["stack_source"] for worker in ranks.values()} == {"faulthandler"}
    assert {worker["phase"] for worker in ranks.values()} == {"init_process_group"}
    assert "faulthandler's signal" in " ".join(snapshot["notes"])
    assert snapshot["startup"]["until"] == "now"
    assert max(parts_of(snapshot), key=lambda name: parts_of(snapshot)[name]) in (
        "rendezvous",
        "imports",
        "controller",
        "process_start",
        "actor_scheduling",
    )
    assert "rendezvous" in parts_of(snapshot)


def test_its_files_go_with_the_ranks(cluster: Cluster, recorded: Job) -> None:
    pids = set(recorded.pids().values())
    mine = {path for pid in pids for path in Path("/dev/shm").glob(f"dsray-start-{pid}-*")}
    assert len(mine) == 2 * len(pids)
    assert {path.stat().st_mode & 0o777 for path in mine} == {0o600}
    recorded.stop()
    cluster.wait_for("the files are gone", lambda: not any(path.exists() for path in mine))
