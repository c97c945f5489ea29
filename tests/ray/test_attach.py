"""`attach` on real jobs that know nothing of us, in the states that people meet."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.ray import scenarios
from tests.ray.cluster import Cluster
from tests.ray.inspecting import (
    Snapshot,
    layers_entered,
    ranks_by_cause,
    take_snapshot,
    take_whole_snapshot,
    training_frames,
    workers_by_rank,
)
from tests.ray.jobs import Job
from tests.ray.users import TOLERATED


@pytest.fixture(scope="module")
def snapshot(cluster: Cluster, hung_job: Job) -> Snapshot:
    """One snapshot of the hung job, for tests that each read another part of it."""
    return take_whole_snapshot(cluster, hung_job)


def test_says_where_every_rank_is(snapshot: Snapshot, hung_job: Job) -> None:
    ranks = workers_by_rank(snapshot)
    pids = hung_job.pids()

    assert {rank: worker["pid"] for rank, worker in ranks.items()} == pids
    assert [ranks[0]["local_rank"], ranks[1]["local_rank"]] == [0, 1]
    assert {worker["world_size"] for worker in ranks.values()} == {2}
    assert sorted(gpu["slot"] for w in ranks.values() for gpu in w["gpus"]) == [0, 1]
    assert all(gpu["visible"] == str(gpu["slot"]) for w in ranks.values() for gpu in w["gpus"])
    assert {worker["hostname"] for worker in ranks.values()} == {os.uname().nodename}
    assert len({worker["actor_id"] for worker in ranks.values()}) == 2
    assert len({worker["worker_id"] for worker in ranks.values()}) == 2

    details = hung_job.details()
    assert snapshot["job"]["submission_id"] == hung_job.submission_id
    assert snapshot["job"]["job_id"] == details["job_id"]
    assert str(snapshot["driver"]["pid"]) == details["driver_info"]["pid"]
    assert "fit()" in snapshot["driver"]["waiting_on"]
    assert snapshot["controller"]["state"] == "RUNNING"
    assert snapshot["controller"]["waiting_on"] == "polls 2 workers"
    assert snapshot["run"]["id"]
    assert snapshot["run"]["attempt"]
    assert [node["agent"]["state"] for node in snapshot["nodes"]] == ["local"]


def test_shows_the_whole_stack_of_each_rank(snapshot: Snapshot) -> None:
    ranks, stacks = workers_by_rank(snapshot), training_frames(snapshot)

    assert ranks[1]["phase"] == "user"
    assert ranks[1]["function"]["name"] == "load_batch"
    assert ranks[1]["function"]["file"].endswith("tests/jobs/train.py")
    assert layers_entered(stacks[1]) == ["python", "ray_train", "user"]

    assert ranks[0]["phase"] == "grad_reduce"
    assert ranks[0]["function"]["name"] == "teach"
    assert layers_entered(stacks[0]) == ["python", "ray_train", "user", "deepspeed", "collective"]
    assert stacks[0][-1]["name"] == "all_reduce"
    assert ranks[0]["evidence"]["stack"] == ranks[1]["evidence"]["stack"] == "ok"


def test_says_what_deepspeed_is(snapshot: Snapshot) -> None:
    for worker in snapshot["workers"]:
        engine = worker["deepspeed"]
        assert (engine["zero_stage"], engine["dtype"]) == (2, "float32")
        assert (engine["micro_batch_size"], engine["gradient_accumulation_steps"]) == (4, 1)
        assert engine["train_batch_size"] == 8
        assert engine["offload"] is None
        assert engine["optimizer"] == "AdamW in DeepSpeedZeroOptimizer"
        assert engine["parameters"] == 4 * (64 * 64 + 64)
        assert len(engine["process_groups"]) >= 1
        assert worker["step"] == scenarios.HANG_STEP


def test_equal_configs_have_equal_digests(snapshot: Snapshot) -> None:
    digests = {worker["deepspeed"]["config_digest"] for worker in snapshot["workers"]}
    assert len(digests) == 1
    assert "config_drift" not in ranks_by_cause(snapshot)


def test_says_who_set_what(snapshot: Snapshot) -> None:
    env = workers_by_rank(snapshot)[1]["env"]
    assert env["RANK"] == {"value": "1", "source": "ray_train"}
    assert env["MASTER_ADDR"]["source"] == "ray_train"
    assert env["HF_TOKEN"] == {"value": "<redacted>", "source": "runtime_env"}
    assert env["DATABASE_URL"]["source"] == "runtime_env"
    assert env["RAY_JOB_ID"]["source"] == "ray"
    assert env["DS_ACCELERATOR"] == {"value": "cpu", "source": "inherited"}


def test_hides_secrets(cluster: Cluster, hung_job: Job) -> None:
    """They are in the runtime environment, on the command line and in the log of the job."""
    commands = [
        ("ls", "--json"),
        ("ls",),
        ("attach", hung_job.submission_id, "--json"),
    ]
    printed = [cluster.inspect(*command) for command in commands]
    for secret in scenarios.PLANTED:
        assert not any(secret in done.stdout + done.stderr for done in printed)
    assert "API_KEY=<redacted>" in printed[0].stdout


def test_sees_a_rank_that_holds_the_gil(cluster: Cluster) -> None:
    job = scenarios.holding_the_gil(cluster)

    try:
        snapshot = take_snapshot(cluster, job)
        # Long work in C that keeps the GIL is no fault until peers have waited long for it.
        job.wait_for(
            "the GIL's holder to be blamed",
            lambda: ranks_by_cause(take_snapshot(cluster, job)).get("gil_held") == [1],
        )
    finally:
        job.stop()

    ranks = workers_by_rank(snapshot)
    assert "did not answer" in ranks[1]["evidence"]["worker"]
    assert "GIL" in ranks[1]["evidence"]["worker"]
    assert ranks[1]["function"]["name"] == "hold_the_gil"
    assert ranks[1]["stack_source"] == "py-spy"
    assert ranks[1]["env"]["RANK"]["value"] == "1"
    assert ranks[0]["evidence"]["worker"] == "ok"


def test_a_stopped_rank_does_not_hold_up_the_others(cluster: Cluster, hung_job: Job) -> None:
    usual = take_snapshot(cluster, hung_job)["took_s"]
    pid = hung_job.pids()[1]
    os.kill(pid, signal.SIGSTOP)

    try:
        snapshot = take_snapshot(cluster, hung_job)
    finally:
        os.kill(pid, signal.SIGCONT)

    ranks = workers_by_rank(snapshot)
    assert ranks[1]["state"] == "stopped"
    assert "state T" in ranks[1]["evidence"]["worker"]
    assert ranks[1]["evidence"]["stack"] == "ok"
    assert ranks[0]["evidence"]["worker"] == "ok"
    assert snapshot["took_s"] < usual + 10, "a stopped rank was waited for without an end"
    assert next(finding["ranks"] for finding in snapshot["findings"]) == [1]


def test_shows_who_is_late_for_the_process_group(cluster: Cluster) -> None:
    job = scenarios.late_for_rendezvous(cluster)

    try:
        snapshot = take_snapshot(cluster, job)
    finally:
        job.stop()

    ranks = workers_by_rank(snapshot)
    assert ranks[0]["phase"] == "init_process_group"
    assert "_setup_torch_process_group" in ranks[0]["evidence"]["worker"]
    assert training_frames(snapshot)[0][-1]["name"] == "_create_c10d_store"
    assert training_frames(snapshot)[1][-1]["name"] == "be_late"
    assert "init_process_group" in snapshot["controller"]["waiting_on"]
    assert ranks_by_cause(snapshot)["rendezvous_wait"] == [1]
    verdict = snapshot["verdict"]
    assert (verdict["state"], verdict["cause"]) == ("starting", "rendezvous_wait")


def test_names_the_resources_that_are_missing(
    cluster: Cluster, hung_job: Job, healthy_job: Job
) -> None:
    job = scenarios.without_resources(cluster)

    try:
        snapshot = take_snapshot(cluster, job)
    finally:
        job.stop()

    assert snapshot["workers"] == []
    assert "GPU: 99" in snapshot["controller"]["waiting_on"]
    frames = next(g for g in snapshot["stacks"]["groups"] if g["role"] == "controller")["frames"]
    assert "wait" in [frame["name"].rpartition(".")[2] for frame in frames]
    # The hung job has two slots, and the healthy job one.
    assert "GPU: 198 needed, 5 free of 8" in json.dumps(snapshot["findings"])
    assert ranks_by_cause(snapshot) == {"resources_pending": []}
    assert snapshot["verdict"]["cause"] == "resources_pending"


def test_names_a_stale_compile_lock(cluster: Cluster, tmp_path: Path) -> None:
    job = scenarios.behind_a_stale_lock(cluster, tmp_path / "extensions")

    try:
        snapshot = take_snapshot(cluster, job)
    finally:
        job.stop()

    assert {worker["phase"] for worker in snapshot["workers"]} == {"op_compile"}
    assert str(scenarios.stale_lock(tmp_path / "extensions")) in json.dumps(snapshot["findings"])
    assert ranks_by_cause(snapshot)["op_compile_lock"] == [0, 1]
    assert snapshot["verdict"]["cause"] == "op_compile_lock"


def test_reaches_the_data_workers_of_a_rank(cluster: Cluster) -> None:
    job = scenarios.with_a_dead_data_worker(cluster)

    try:
        snapshot = take_snapshot(cluster, job)
        done = cluster.inspect("stacks", job.submission_id, "--all-threads", "--json")
        children = set(scenarios.data_workers(job.pids()[1]))
        job.wait_for(
            "the rank whose data stands still to be blamed",
            lambda: ranks_by_cause(take_snapshot(cluster, job)).get("data_stall") == [1],
        )
    finally:
        job.stop()

    assert workers_by_rank(snapshot)[1]["phase"] == "data"
    groups = [group for group in json.loads(done.stdout)["groups"] if group["role"] == "child"]
    dead = [g for g in groups if g["frames"] and "read_from_a_dead_disk" in g["frames"][-1]["name"]]
    assert [group["ranks"] for group in dead] == [[1]]
    assert set(dead[0]["pids"]) <= children


def test_is_never_alarmed_by_a_job_that_ends(cluster: Cluster) -> None:
    job = scenarios.training(cluster, "--steps", "400")
    snapshots = 0

    while job.ended() is None:
        snapshot = take_snapshot(cluster, job)
        snapshots += 1
        assert snapshot["verdict"]["state"] in (
            "healthy",
            "starting",
            "unknown",
            "finished",
            "failed",
        )

    assert snapshots > 1
    last = take_snapshot(cluster, job)
    assert (last["job"]["state"], last["verdict"]["state"]) == ("SUCCEEDED", "finished")


def test_says_that_a_job_failed(cluster: Cluster) -> None:
    job = cluster.submit("--fault", "raise")
    assert job.wait_until_ended() == "FAILED"
    done = cluster.inspect("attach", job.submission_id)
    assert done.returncode == 1
    headline = done.stdout.splitlines()[0]
    assert headline.startswith("FAILED: Rank 1 raised an exception at train.py:")
    assert headline.endswith("ValueError: a bad batch")
    snapshot = take_snapshot(cluster, job)
    assert ranks_by_cause(snapshot) == {"worker_dead": [1]}


def test_one_job_with_two_runs(cluster: Cluster) -> None:
    job = scenarios.two_runs(cluster, "--name", "pair")

    try:
        listed = job.wait_for("both controllers to answer", lambda: named_runs(cluster, job))
        unnamed = take_snapshot(cluster, job.submission_id)
        numbered = [take_snapshot(cluster, f"{job.submission_id}/{n}") for n in (1, 2)]
        named = take_snapshot(cluster, "pair-1")
        by_id = take_snapshot(cluster, listed[0]["run_id"][:8])
    finally:
        job.stop()

    assert {run["run_name"] for run in listed} == {"pair-0", "pair-1"}
    assert {one["run"]["name"] for one in numbered} == {"pair-0", "pair-1"}
    assert unnamed["run"]["id"] == numbered[1]["run"]["id"], "the newest"
    assert any(f"{job.submission_id}/1" in note for note in unnamed["notes"])
    assert named["run"]["name"] == "pair-1"
    assert by_id["run"]["id"] == listed[0]["run_id"]
    assert {w["pid"] for w in named["workers"]} == set(job.run(1).pids().values())


def named_runs(cluster: Cluster, job: Job) -> list[dict[str, Any]]:
    """Return the runs of a job as `ls` lists them, none while a controller is too busy to answer."""
    runs = json.loads(cluster.inspect("ls", "--json").stdout)["runs"]
    listed = [run for run in runs if run["submission_id"] == job.submission_id]
    return listed if all(run["run_id"] for run in listed) else []


def test_ray_train_v1(cluster: Cluster) -> None:
    job = scenarios.on_train_v1(cluster)

    try:
        snapshot = take_snapshot(cluster, job)
    finally:
        job.stop()

    ranks = workers_by_rank(snapshot)
    assert {rank: worker["pid"] for rank, worker in ranks.items()} == job.pids()
    assert {worker["evidence"]["stack"] for worker in ranks.values()} == {"ok"}
    assert all("V1" in worker["evidence"]["controller"] for worker in ranks.values())
    assert all(worker["phase"] != "unknown" for worker in ranks.values())


def test_without_ptrace_rights(cluster: Cluster, hung_job: Job) -> None:
    argv = (
        *TOLERATED,
        "dsray-inspect",
        "attach",
        "--address",
        cluster.address,
        hung_job.submission_id,
        "--json",
    )
    done = cluster.run(*argv)
    assert done.returncode in (0, 1), done.stderr
    snapshot = json.loads(done.stdout)

    assert {worker["stack_source"] for worker in snapshot["workers"]} == {"in-process"}
    assert workers_by_rank(snapshot)[1]["function"]["name"] == "load_batch"
    assert any("ptrace" in note for note in snapshot["notes"])

    blind = cluster.run(*argv, "--no-inject")
    assert blind.returncode == 4
    assert "ptrace" in blind.stderr


def test_a_stack_over_all_processes(cluster: Cluster, hung_job: Job) -> None:
    done = cluster.inspect("stacks", hung_job.submission_id)
    assert done.returncode == 0, done.stderr
    order = ["driver", "DataParallelTrainer.fit", "controller", "load_batch"]
    places = [done.stdout.index(word) for word in order]
    assert places == sorted(places)
    assert "[1]" in done.stdout
    assert "[0]" in done.stdout

    collapsed = cluster.inspect("stacks", hung_job.submission_id, "--collapsed").stdout
    assert any(
        line.startswith("rank 1;") and line.endswith(" 1") for line in collapsed.splitlines()
    )

    with_locals = cluster.inspect(
        "stacks", hung_job.submission_id, "--locals", "--rank", "1"
    ).stdout
    assert f"step = {scenarios.HANG_STEP}" in with_locals


def test_native_frames(cluster: Cluster, hung_job: Job) -> None:
    def with_native() -> dict[str, Any]:
        """Return the stacks; none where py-spy was too slow: a rank is stopped for 4 s at most."""
        done = cluster.inspect("stacks", hung_job.submission_id, "--native", "--json")
        stacks: dict[str, Any] = json.loads(done.stdout)
        return stacks if training_frames({"stacks": stacks})[0][-1]["layer"] == "native" else {}

    native = cluster.wait_for("native frames of rank 0", with_native, timeout=300)
    assert native["pause_ms"]["0"] > 0


def test_the_end_of_a_ranks_log(cluster: Cluster, hung_job: Job) -> None:
    argv = ("stacks", hung_job.submission_id, "--rank", "1", "--log", "--lines", "3")
    done = cluster.inspect(*argv)
    assert done.returncode == 0, done.stderr
    tree, log = done.stdout.split(f"\n\nlog of rank 1  on {os.uname().nodename}\n")
    assert "load_batch" in tree
    assert f"rank 1 begins step {scenarios.HANG_STEP}, password=<redacted>" in log
    assert "rank 0 begins" not in log
    assert "planted-word" not in log

    document = json.loads(cluster.inspect(*argv, "--json", "--no-inject").stdout)
    assert list(document["logs"]) == ["1"]
    assert document["logs"]["1"]["why"] == "ok"
    files = {file["stream"]: file for file in document["logs"]["1"]["files"]}
    assert set(files) == {"stdout", "stderr", "train"}
    last = [line.partition("rank 1 ")[2] for line in files["train"]["lines"]]
    assert last == [
        f"begins step {step}, password=<redacted>"
        for step in range(scenarios.HANG_STEP - 2, scenarios.HANG_STEP + 1)
    ]
    assert f"-{hung_job.pids()[1]}.err" in files["stderr"]["path"]
    assert "planted-word" not in json.dumps(document)


def test_the_environment_of_all_ranks(cluster: Cluster, hung_job: Job) -> None:
    done = cluster.inspect("env", hung_job.submission_id)
    assert done.returncode == 0, done.stderr
    assert "  LOCAL_RANK=0-1" in done.stdout
    assert "user_code" in done.stdout
    assert "USER_SETTING=from-the-script" in done.stdout
    document = json.loads(cluster.inspect("env", hung_job.submission_id, "--json").stdout)
    assert "RANK" in [difference["name"] for difference in document["expected"]]
    assert document["drift"] == []
