"""Take snapshots with the real `dsray-inspect`, and find things in them."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Protocol

from tests.ray import processes
from tests.ray.jobs import Job

Snapshot = dict[str, Any]
OUR_ACTORS = ("NodeAgent", "Examiner")
"""The classes of the actors that a command may start on the cluster."""


class HasActors(Protocol):
    """A cluster whose dashboard can be asked."""

    def call(self, method: str, path: str) -> Any: ...


class Inspectable(Protocol):
    """A cluster, or hosts, on which `dsray-inspect` can be run."""

    def inspect(
        self, command: str, *args: str, timeout: float = ..., env: dict[str, str] | None = ...
    ) -> subprocess.CompletedProcess[str]: ...


def take_snapshot(where: Any, job: Job | str, *args: str, **options: Any) -> Snapshot:
    """Return the document that `attach --json` prints."""
    name = job if isinstance(job, str) else job.submission_id
    done = where.inspect("attach", name, "--json", *args, **options)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    snapshot: Snapshot = json.loads(done.stdout)
    return snapshot


def take_whole_snapshot(where: Any, job: Job, *args: str, **options: Any) -> Snapshot:
    """Take snapshots until every rank has answered in-process and has reported its engine.

    A command reads a rank for a few seconds only; on a busy machine that may be too short for
    the search for its engine.
    """

    def whole() -> Snapshot | None:
        snapshot = take_snapshot(where, job, *args, **options)
        workers = snapshot["workers"]
        answered = all(w["evidence"]["worker"] == "ok" and w["deepspeed"] for w in workers)
        return snapshot if answered else None

    snapshot = processes.wait_for("every rank answers and reports its engine", whole)
    assert snapshot is not None
    return snapshot


def workers_by_rank(snapshot: Snapshot) -> dict[int, dict[str, Any]]:
    return {worker["rank"]: worker for worker in snapshot["workers"]}


def training_frames(snapshot: Snapshot) -> dict[int, list[dict[str, Any]]]:
    """Return the frames of each rank's training thread, outermost first."""
    return {
        rank: group["frames"]
        for group in snapshot["stacks"]["groups"]
        if group["role"] == "worker"
        for rank in group["ranks"]
    }


def layers_entered(frames: list[dict[str, Any]]) -> list[str]:
    """Return the layers of a stack in the order in which they are entered."""
    entered: list[str] = []

    for frame in frames:
        if not entered or entered[-1] != frame["layer"]:
            entered.append(frame["layer"])

    return entered


def ranks_by_cause(snapshot: Snapshot) -> dict[str, list[int]]:
    """Return the ranks of each finding by its cause."""
    return {finding["cause"]: finding["ranks"] for finding in snapshot["findings"]}


def our_actors(cluster: HasActors) -> list[dict[str, Any]]:
    """Return the actors of ours that live on the cluster."""
    answer = cluster.call("GET", "/api/v0/actors?limit=10000")
    rows = answer["data"]["result"]["result"]
    return [row for row in rows if row["class_name"] in OUR_ACTORS and row["state"] != "DEAD"]
