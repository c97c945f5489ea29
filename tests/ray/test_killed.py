"""A command leaves the job as it was, and so does an attacher that is killed at any instant."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dsray_inspect.agent.remote.environ import live_environ
from tests.ray import processes, scenarios
from tests.ray.cluster import Cluster
from tests.ray.inspecting import our_actors
from tests.ray.jobs import Job

KILLS = 20
COMMANDS = (
    ("attach", "--json"),
    ("attach", "--no-inject"),
    ("stacks", "--native"),
    ("stacks", "--locals", "--all-threads"),
    ("env", "--all"),
)
LASTING = ("threads", "files", "mapped", "env")
COUNTED = {"native_threads": 4, "sockets": 0}
"""What may be fewer, and how many more: gRPC adds threads to its pool when a machine is busy. One
that each killed attacher left would be more."""
WATCHED = (*LASTING, *COUNTED)


@pytest.fixture(scope="module")
def unwatched_job(cluster: Cluster) -> Iterator[Job]:
    """A job that nobody has attached to yet; its workers must end with it."""
    job = scenarios.training(cluster, "--step-sleep-s", "0.1")
    job.assert_moving()
    workers = job.actors()
    assert sorted(job.pids().values()) == [worker.pid for worker in workers]
    yield job
    assert job.stop() == "STOPPED"
    processes.wait_for(
        "the workers to be gone",
        lambda: not any(os.path.exists(f"/proc/{worker.pid}") for worker in workers),
    )


class FirstCommands(NamedTuple):
    """The first commands that anybody ran on a job."""

    before: list[dict[str, Any]]
    """What the ranks looked like before."""
    seconds: dict[tuple[str, ...], float]
    """How long each command took."""


@pytest.fixture(scope="module")
def first_commands(cluster: Cluster, unwatched_job: Job) -> FirstCommands:
    """Run each command once, to its end."""
    before = [steady_traces(pid) for pid in unwatched_job.pids().values()]
    name = unwatched_job.submission_id
    return FirstCommands(
        before, {command: run_to_end(cluster, *command, name) for command in COMMANDS}
    )


def test_the_first_commands_leave_nothing(
    unwatched_job: Job, first_commands: FirstCommands
) -> None:
    unwatched_job.assert_moving()
    wait_until_unchanged(unwatched_job, first_commands.before, LASTING)


def test_twenty_killed_attachers_leave_nothing(
    cluster: Cluster, unwatched_job: Job, first_commands: FirstCommands, hung_job: Job
) -> None:
    job = unwatched_job
    pids = list(job.pids().values())
    before = [steady_traces(pid) for pid in pids]
    files = files_of_ours(cluster)
    instants = random.Random(20)

    for number in range(KILLS):
        command = COMMANDS[number % len(COMMANDS)]
        attacher = start(cluster, *command, job.submission_id)
        time.sleep(instants.uniform(0, first_commands.seconds[command]))
        attacher.kill()
        attacher.wait()

    job.assert_moving()
    cluster.wait_for("our actors to be gone", lambda: not our_actors(cluster))
    wait_until_unchanged(job, before)
    assert files_of_ours(cluster) == files
    assert list(job.pids().values()) == pids

    # Nobody attaches to the hung job before it hangs, so its losses are those of undisturbed ranks.
    for rank in (0, 1):
        steps = job.steps(rank)
        assert [row.step for row in steps] == list(range(len(steps)))
        reference = [row.loss for row in hung_job.steps(rank)]
        assert [row.loss for row in steps[: len(reference)]] == reference[: len(steps)]


def start(cluster: Cluster, *argv: str) -> subprocess.Popen[bytes]:
    command, *rest = argv
    return subprocess.Popen(
        ["dsray-inspect", command, "--address", cluster.address, *rest],
        env=cluster.env,
        cwd=cluster.dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def run_to_end(cluster: Cluster, *argv: str) -> float:
    """Return the seconds that a command takes when nobody kills it."""
    started = time.monotonic()
    assert start(cluster, *argv).wait(120) in (0, 1), argv
    return time.monotonic() - started


def traces(pid: int) -> dict[str, Any]:
    """Return what an intruder could leave in a process, read without asking the process."""
    files = open_files(pid)
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {
        "pid": pid,
        "threads": sorted(processes.stacks(pid)),
        "native_threads": len(os.listdir(f"/proc/{pid}/task")),
        "files": sorted(name for name in files if name.startswith("/")),
        "sockets": sum(name.startswith("socket:") for name in files),
        "mapped": {line.split(maxsplit=5)[5] for line in maps if len(line.split(maxsplit=5)) == 6},
        "env": live_environ(pid),
    }


def open_files(pid: int) -> list[str]:
    """Return what a process has open; what it closes meanwhile is left out."""
    files = []

    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            files.append(os.readlink(f"/proc/{pid}/fd/{number}"))

    return files


def steady_traces(pid: int) -> dict[str, Any]:
    """Return the traces of a process that nobody reads from: two equal readings in a row.

    py-spy reads a running process, and sometimes what it reads is just being changed.
    """
    readings = [traces(pid)]

    def same() -> bool:
        readings.append(traces(pid))
        return readings[-1] == readings[-2]

    processes.wait_for(f"process {pid} to be the same twice", same)
    return readings[-1]


def changes(
    pid: int, before: list[dict[str, Any]], names: Collection[str] = WATCHED
) -> dict[str, tuple[Any, Any]]:
    """Return what differs in a process, as (before, now)."""
    now, then = traces(pid), next(reading for reading in before if reading["pid"] == pid)
    return {
        name: (then[name], now[name])
        for name in names
        if (now[name] > then[name] + COUNTED[name] if name in COUNTED else now[name] != then[name])
    }


def wait_until_unchanged(
    job: Job, before: list[dict[str, Any]], names: Collection[str] = WATCHED
) -> None:
    processes.wait_until_equal(
        "the ranks to be as they were",
        [{}, {}],
        lambda: [changes(pid, before, names) for pid in job.pids().values()],
    )


def files_of_ours(cluster: Cluster) -> set[str]:
    """Return the files where a command could leave some."""
    pids = [process.pid for process in processes.with_mark(cluster.mark)]
    return {
        *map(str, (cluster.dir / "tmp").rglob("*")),
        *map(str, processes.in_shared_memory(pids)),
    }
