"""`report` on a job that hangs: recorded and told on one page, with nothing left behind."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from tests.ray.cluster import Cluster
from tests.ray.jobs import Job
from tests.ray.scenarios import PLANTED
from tests.unit.reports import Page

MOST_BYTES = 300_000


def page_of(cluster: Cluster, job: Job, folder: Path, *args: str) -> str:
    """Return the page of a live job, which is all that is left of making it."""
    path, temporary = folder / "x.html", folder / "tmp"
    temporary.mkdir()
    arguments = (job.submission_id, "-o", str(path), "--seconds", "2", *args)
    done = cluster.inspect("report", *arguments, env={"TMPDIR": str(temporary)})
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("HUNG: Rank 1 has been blocked in ")
    assert list(temporary.iterdir()) == []
    assert path.stat().st_size < MOST_BYTES
    return path.read_text()


def test_a_live_job_is_recorded_and_told(cluster: Cluster, hung_job: Job, tmp_path: Path) -> None:
    html = page_of(cluster, hung_job, tmp_path)
    page = Page(html)
    assert "blocked in load_batch (train.py:" in page.text
    assert os.uname().nodename in page.text
    assert "DeepSpeedEngine.backward" in page.text
    assert [planted for planted in PLANTED if planted in html] == []


def test_a_public_page_names_nothing_of_the_user(
    cluster: Cluster, hung_job: Job, tmp_path: Path
) -> None:
    html = page_of(cluster, hung_job, tmp_path, "--public")
    own = ("load_batch", "train.py", "HF_TOKEN", os.uname().nodename, hung_job.submission_id)
    user = f"/{getpass.getuser()}/"
    assert [name for name in (*own, *PLANTED, user) if len(name) > 2 and name in html] == []
    assert "function-" in html


@pytest.mark.parametrize("name", ["folded", "speedscope", "json"])
def test_other_formats_go_to_a_pipe(cluster: Cluster, hung_job: Job, name: str) -> None:
    args = ("report", hung_job.submission_id, "--seconds", "0", "--format", name)
    done = cluster.inspect(*args)
    assert done.returncode == 0, done.stderr
    assert "load_batch" in done.stdout
