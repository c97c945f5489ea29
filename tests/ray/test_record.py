"""`record` on a job that hangs, and what its file says once it is all that is looked at."""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.ray.cluster import Cluster
from tests.ray.inspecting import take_snapshot, training_frames, workers_by_rank
from tests.ray.jobs import Job
from tests.ray.processes import ROOT
from tests.ray.scenarios import HANG_STEP, PLANTED

Document = dict[str, Any]
MOST_BYTES = 1_000_000
HEADER_BYTES = 1_000
"""More than the parts before the first sample have."""


@pytest.fixture(scope="module")
def file(cluster: Cluster, hung_job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(cluster, hung_job, tmp_path_factory.mktemp("incident") / "hang.dsray")


@pytest.fixture(scope="module")
def public(cluster: Cluster, hung_job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("incident") / "public.dsray"
    return record(cluster, hung_job, path, "--public")


def record(cluster: Cluster, job: Job, path: Path, *args: str) -> Path:
    done = cluster.inspect(
        "record", job.submission_id, "-o", str(path), "--seconds", "3", "--json", *args
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)
    assert written["bytes"] == path.stat().st_size < MOST_BYTES
    assert written["ended_early"] is None
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    return path


def offline(
    cluster: Cluster, command: str, path: Path, *args: str
) -> subprocess.CompletedProcess[str]:
    """Run a command on a file, with a cluster that does not answer if it is asked."""
    env = {"RAY_ADDRESS": "192.0.2.1:6379"}
    return cluster.run("dsray-inspect", command, "--from", str(path), *args, env=env)


def read(cluster: Cluster, command: str, path: Path, *args: str) -> Document:
    """Return the document that a command prints of a file."""
    done = offline(cluster, command, path, "--json", *args)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    document: Document = json.loads(done.stdout)
    return document


def unpacked(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return "\n".join(archive.read(name).decode() for name in archive.namelist())


def own_lines(snapshot: Document) -> dict[int, list[tuple[str, int]]]:
    """Return the user's frames of each rank, whichever tool has read them."""
    return {
        rank: [(one["name"], one["line"]) for one in frames if one["layer"] == "user"]
        for rank, frames in training_frames(snapshot).items()
    }


def culprits(explanation: Document) -> list[tuple[int, int, str]]:
    return [(one["rank"], one["pid"], one["function"]["name"]) for one in explanation["culprits"]]


def test_the_verdict_is_the_live_one(cluster: Cluster, hung_job: Job, file: Path) -> None:
    done = cluster.inspect("why", hung_job.submission_id, "--json")
    live, filed = json.loads(done.stdout), read(cluster, "why", file)

    for key in ("state", "cause", "ranks"):
        assert filed["verdict"][key] == live["verdict"][key], key

    assert (filed["verdict"]["state"], filed["sure"]) == ("hung", live["sure"])
    assert culprits(filed) == culprits(live)
    assert [one["rank"] for one in filed["victims"]] == [one["rank"] for one in live["victims"]]
    assert filed["graph"]["roots"] == live["graph"]["roots"]
    assert filed["next_step"] == live["next_step"]
    assert [one["cause"] for one in filed["findings"]] == [one["cause"] for one in live["findings"]]


def test_judging_again_gives_what_was_given(cluster: Cluster, file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        given = json.loads(archive.read("why.json"))
        manifest = json.loads(archive.read("manifest.json"))

    filed = read(cluster, "why", file)
    assert {key: filed[key] for key in filed if key != "snapshot"} == {
        key: given[key] for key in given if key != "snapshot"
    }
    newest = manifest["verdicts"][-1]["verdict"]
    assert {key: filed["verdict"][key] for key in ("state", "cause", "ranks")} == {
        key: newest[key] for key in ("state", "cause", "ranks")
    }
    assert read(cluster, "attach", file) == given["snapshot"]


def test_attach_shows_what_it_shows_live(cluster: Cluster, hung_job: Job, file: Path) -> None:
    live, filed = take_snapshot(cluster, hung_job), read(cluster, "attach", file)
    assert {rank: worker["pid"] for rank, worker in workers_by_rank(filed).items()} == (
        hung_job.pids()
    )
    assert own_lines(filed) == own_lines(live)
    assert {worker["step"] for worker in filed["workers"]} <= {HANG_STEP, None}
    assert filed["nodes"][0]["hostname"] == os.uname().nodename

    # On a machine with much to do, an engine or a start is not always found in time.
    for now, then in zip(live["workers"], filed["workers"], strict=True):
        if now["deepspeed"] and then["deepspeed"]:
            assert then["deepspeed"]["config"] == now["deepspeed"]["config"]

    if live["startup"] and filed["startup"]:
        assert filed["startup"]["parts"] == live["startup"]["parts"]


def test_env_and_stacks_read_it_too(cluster: Cluster, hung_job: Job, file: Path) -> None:
    live = json.loads(cluster.inspect("env", hung_job.submission_id, "--json").stdout)
    filed = read(cluster, "env", file)
    assert [one["env"] for one in filed["ranks"]] == [one["env"] for one in live["ranks"]]
    assert (filed["drift"], filed["expected"]) == (live["drift"], live["expected"])

    done = offline(cluster, "stacks", file, "--rank", "1", "--log")
    assert "load_batch" in done.stdout
    assert "log of rank 1" in done.stdout
    every = read(cluster, "stacks", file, "--all-threads")
    assert len(every["groups"]) > len(read(cluster, "stacks", file)["groups"])


def test_the_past_and_the_nodes_are_in_it(cluster: Cluster, hung_job: Job, file: Path) -> None:
    done = cluster.inspect("trace", hung_job.submission_id, "--past", "--json")
    live, filed = json.loads(done.stdout), read(cluster, "trace", file)

    for key in ("ranks", "collectives", "stuck"):
        assert filed["summary"][key] == live["summary"][key], key

    assert filed["summary"]["ranks"][0]["last_step"] == HANG_STEP - 1
    (node,) = read(cluster, "doctor", file)["nodes"]
    assert node["rungs"]["gcs"]["state"] == "ok"
    assert node["facts"]["hostname"] == os.uname().nodename


def test_no_secret_is_in_it(file: Path, public: Path) -> None:
    for path in (file, public):
        text = unpacked(path)
        assert [planted for planted in PLANTED if planted in text] == []

    assert "HF_TOKEN" in unpacked(file)


def test_nothing_of_the_user_is_in_a_public_one(hung_job: Job, public: Path) -> None:
    text = unpacked(public)
    own = (
        *("load_batch", "teach", "train.py", "tests/jobs", "HF_TOKEN", "DATABASE_URL"),
        *(os.uname().nodename, f"/{getpass.getuser()}/", str(Path.home()), str(hung_job.out)),
        *(hung_job.submission_id, "/tmp/", f"{ROOT.parent}/"),
    )
    found = [name for name in own if len(name) > 2 and name in text]
    assert found == []
    assert "all_reduce" in text
    assert "deepspeed/runtime/engine.py" in text


def test_a_public_one_has_the_same_verdict(cluster: Cluster, public: Path) -> None:
    filed = read(cluster, "why", public)
    assert filed["verdict"]["cause"] == "rank_blocked_in_user_code"
    assert (filed["verdict"]["state"], filed["verdict"]["ranks"]) == ("hung", [1])
    assert filed["culprits"][0]["function"]["name"].startswith("function-")
    assert "live verdict" not in unpacked(public)


def test_an_interrupted_recording_keeps_what_it_has(
    cluster: Cluster, hung_job: Job, tmp_path: Path
) -> None:
    path = tmp_path / "short.dsray"
    process = cluster.watch(
        *("record", hung_job.submission_id, "-o", str(path), "--seconds", "600", "--json")
    )

    def unfinished() -> Path | None:
        found = next(tmp_path.glob(".short.dsray.*.part"), None)
        return found if found is not None and found.stat().st_size > HEADER_BYTES else None

    part = cluster.wait_for("the first sample is written", unfinished)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130

    # Ending takes at most a second and a half, on a busy machine too: nobody may be told of a file.
    if path.exists():
        assert not out or json.loads(out)["ended_early"] == "it was interrupted"
        assert read(cluster, "why", path)["verdict"]["ranks"] == [1]
    else:
        assert part is not None
        assert offline(cluster, "why", part, "--json").returncode in (0, 1)
