"""What one cell of the matrix runs, in the Python of its own venv: a hung and a healthy job.

It prints one JSON document: what each command gave.
"""

from __future__ import annotations

import json
import re
import sys
import traceback
from pathlib import Path

from tests.matrix.checks import CHECKS, Cell
from tests.matrix.outcome import Outcome, Said
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job
from tests.ray.processes import ROOT, Unmet

HANG_STEP = 20
PATIENT = {"RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "300"}
"""The dashboard of an older Ray gives up on itself after 30 s on a busy machine."""
SETTLED_STEP = 30
"""Far enough that a healthy job has a rhythm to be judged by."""


def main(train: str, chosen: list[str]) -> None:
    outcomes: dict[str, Outcome] = {}
    env = {"RAY_TRAIN_V2_ENABLED": "1" if train == "v2" else "0"}

    with Cluster(env=PATIENT) as cluster:
        links = link_package(cluster.dir)
        healthy = cluster.submit("--step-sleep-s", "0.05", submission_id="healthy", env=env)
        hung = cluster.submit(
            *("--fault", "sleep", "--fault-step", str(HANG_STEP)), submission_id="hung", env=env
        )
        hung.wait_until_stuck(after_step=HANG_STEP - 1)

        for rank in (0, 1):
            healthy.wait_until_step(rank, SETTLED_STEP)

        cell = Cell(cluster, links, train, hung=hung, healthy=healthy)

        for name in CHECKS:
            if not chosen or name in chosen:
                outcomes[name] = outcome_of(name, cell)

        for job in (hung, healthy):
            note_how_it_is(job)

    print(json.dumps({name: outcome._asdict() for name, outcome in outcomes.items()}))


def link_package(folder: Path) -> Path:
    """Return a folder from which Python imports this checkout as `dsray_inspect`.

    It is in the path of our commands only: the jobs must not need us.
    """
    package = folder / "links" / "dsray_inspect"
    package.mkdir(parents=True)

    for name in ("agent", "dashboards", "exporters", "tui"):
        (package / name).symlink_to(ROOT / name)

    # Some commands name their own version, as installed.
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)
    assert version is not None
    metadata = package.parent / f"dsray_inspect-{version[1]}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: dsray-inspect\nVersion: {version[1]}\n")
    return package.parent


def outcome_of(name: str, cell: Cell) -> Outcome:
    try:
        CHECKS[name](cell)
    except Said as missing:
        return Outcome("said", str(missing))
    except Exception as error:
        print(f"== {name}\n{traceback.format_exc()}", file=sys.stderr)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Outcome("wrong", lines[0][:300])

    return Outcome("right", "")


def note_how_it_is(job: Job) -> None:
    """Show the log of a job that did not survive; that is worse than any wrong answer."""
    try:
        ended = job.ended()
    except Unmet as error:
        ended = str(error)

    if ended:
        print(f"== {job.submission_id} has ended\n{ended}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
