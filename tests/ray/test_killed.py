"""A look leaves the job as it was, and so does an attacher that is killed at any instant."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from dsray_inspect.agent.remote.environ import live_environ
from tests.ray import processes, scenarios
from tests.ray.cluster import Cluster

KILLS = 20
COMMANDS = (
    ("attach", "--json"),
    ("attach", "--no-inject"),
    ("stacks", "--native"),
    ("stacks", "--locals", "--all-threads"),
    ("env", "--all"),
)
OURS = ("NodeAgent", "Examiner")
LASTING = ("threads", "files", "mapped", "env")
COUNTED = ("native_threads", "sockets")
WATCHED = (*LASTING, *COUNTED)


def test_the_first_look_leaves_nothing(cluster: Cluster) -> None:
    job = scenarios.training(cluster)
    pids = list(job.pids().values())
    before = [steady_traces(pid) for pid in pids]

    for command in COMMANDS:
        run_whole(cluster, *command, job.submission_id)

    job.assert_moving()
    processes.wait_until_equal(
        "the ranks to be as they were",
        [{}, {}],
        lambda: [changes(pid, before, LASTING) for pid in pids],
    )
    job.stop()


def test_twenty_killed_attachers_leave_nothing(cluster: Cluster) -> None:
    job = scenarios.training(cluster)
    pids = list(job.pids().values())
    name = job.submission_id
    longest_s = max(run_whole(cluster, *command, name) for command in COMMANDS)
    before = [steady_traces(pid) for pid in pids]
    files = files_of_ours(cluster)
    instants = random.Random(20)

    for number in range(KILLS):
        command = COMMANDS[number % len(COMMANDS)]
        attacher = start(cluster, *command, name)
        time.sleep(instants.uniform(0, longest_s))
        attacher.kill()
        attacher.wait()

    job.assert_moving()
    cluster.wait_for("our actors to be gone", lambda: not our_actors(cluster))
    processes.wait_until_equal(
        "the ranks to be as they were",
        [{}, {}],
        lambda: [changes(pid, before) for pid in pids],
    )
    assert files_of_ours(cluster) == files
    assert list(job.pids().values()) == pids
    steps = {rank: job.steps(rank) for rank in (0, 1)}
    job.stop()

    undisturbed = scenarios.training(cluster)
    undisturbed.wait_until_step(1, 100)
    undisturbed.stop()

    for rank, rows in steps.items():
        assert [row.step for row in rows] == list(range(len(rows)))
        reference = [row.loss for row in undisturbed.steps(rank)]
        assert [row.loss for row in rows[: len(reference)]] == reference[: len(rows)]


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


def run_whole(cluster: Cluster, *argv: str) -> float:
    """Return the seconds that a command takes when nobody kills it."""
    started = time.monotonic()
    assert start(cluster, *argv).wait(120) in (0, 1), argv
    return time.monotonic() - started


def traces(pid: int) -> dict[str, Any]:
    """Return what an intruder could leave in a process, read without asking the process."""
    files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
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


def steady_traces(pid: int) -> dict[str, Any]:
    """Return the traces of a process that nobody asks anything: two readings that are equal.

    py-spy reads a running process, and now and then what it reads was just being changed.
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
    """Return what is otherwise in a process: before and now; fewer sockets and threads are fine."""
    now, then = traces(pid), next(one for one in before if one["pid"] == pid)
    return {
        name: (then[name], now[name])
        for name in names
        if (now[name] > then[name] if name in COUNTED else now[name] != then[name])
    }


def files_of_ours(cluster: Cluster) -> set[str]:
    """Return what lies where a command could leave something."""
    pids = [process.pid for process in processes.with_mark(cluster.mark)]
    return {
        *map(str, (cluster.dir / "tmp").rglob("*")),
        *map(str, processes.in_shared_memory(pids)),
    }


def our_actors(cluster: Cluster) -> list[Any]:
    answer = cluster.call("GET", "/api/v0/actors?limit=10000")
    rows = answer["data"]["result"]["result"]
    return [row for row in rows if row["class_name"] in OURS and row["state"] != "DEAD"]
