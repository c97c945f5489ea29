"""`diff` of real runs: two of one script are quiet, and a third shows exactly what was changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

SETTLED_STEP = 6
"""From here on a run is healthy, and its memory grows no more."""


def training(cluster: Cluster, settings: Path, *, flavor: str) -> Job:
    args = ("--settings", str(settings), "--step-sleep-s", "0.3")
    job = cluster.submit(*args, env={"FLAVOR": flavor})

    for rank in (0, 1):
        job.wait_until_step(rank, SETTLED_STEP)

    return job


def diff(cluster: Cluster, *sides: str, code: int) -> dict[str, Any]:
    done = cluster.inspect("diff", *sides, "--json")
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_only_what_was_changed_differs(cluster: Cluster, tmp_path: Path) -> None:
    settings, file = tmp_path / "ds.json", tmp_path / "first.dsray"
    settings.write_text("{}")
    first = training(cluster, settings, flavor="plain")
    done = cluster.inspect("record", first.submission_id, "-o", str(file), "--seconds", "2")
    assert done.returncode == 0, done.stderr
    first.stop()

    second = training(cluster, settings, flavor="plain")
    quiet = diff(cluster, str(file), second.submission_id, code=0)
    assert quiet["differences"] == []
    assert quiet["compared"]["ranks"] == 2
    assert min(quiet["compared"].values()) > 0
    assert {"MASTER_PORT", "RAY_JOB_ID"} <= {one["name"] for one in quiet["expected"]}
    second.stop()

    settings.write_text(json.dumps({"gradient_clipping": 0.5}))
    third = training(cluster, settings, flavor="other")
    changed = diff(cluster, str(file), third.submission_id, code=1)
    assert [
        (one["kind"], one["name"], one["ranks"], one["a"]["text"], one["b"]["text"])
        for one in changed["differences"]
    ] == [
        ("config", "gradient_clipping", [0, 1], "1.0", "0.5"),
        ("env", "FLAVOR", [0, 1], "plain", "other"),
    ]
    assert changed["differences"][1]["a"]["source"] == "runtime_env"
    third.stop()
