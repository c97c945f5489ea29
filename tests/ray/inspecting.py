"""Look at a job with the real `dsray-inspect`, and find things in what it printed."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Protocol

from tests.ray.jobs import Job

Snapshot = dict[str, Any]


class Inspects(Protocol):
    """A cluster, or hosts, on which `dsray-inspect` can be run."""

    def inspect(
        self, command: str, *args: str, timeout: float = ..., env: dict[str, str] | None = ...
    ) -> subprocess.CompletedProcess[str]: ...


def look(where: Any, job: Job | str, *args: str, **options: Any) -> Snapshot:
    """Return the document of `attach --json`; nothing may stand on stderr but talk."""
    name = job if isinstance(job, str) else job.submission_id
    done = where.inspect("attach", name, "--json", *args, **options)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    snapshot: Snapshot = json.loads(done.stdout)
    return snapshot


def by_rank(snapshot: Snapshot) -> dict[int, dict[str, Any]]:
    return {worker["rank"]: worker for worker in snapshot["workers"]}


def training_stacks(snapshot: Snapshot) -> dict[int, list[dict[str, Any]]]:
    """Return the frames of each rank's training thread, outermost first."""
    return {
        rank: group["frames"]
        for group in snapshot["stacks"]["groups"]
        if group["role"] == "worker"
        for rank in group["ranks"]
    }


def layers(frames: list[dict[str, Any]]) -> list[str]:
    """Return the layers in the order they are entered."""
    entered: list[str] = []

    for frame in frames:
        if not entered or entered[-1] != frame["layer"]:
            entered.append(frame["layer"])

    return entered


def causes(snapshot: Snapshot) -> dict[str, list[int]]:
    """Return the ranks of each finding by its cause."""
    return {finding["cause"]: finding["ranks"] for finding in snapshot["findings"]}
