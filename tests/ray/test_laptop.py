"""`python train.py` that starts a Ray of its own: found on the same machine without any flag."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray import processes
from tests.ray.conftest import skip_without_hosts
from tests.ray.drivers import LocalDriver
from tests.ray.hosts import Host
from tests.ray.messages import Done, expect_error, expect_output


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A machine where no other Ray can be seen."""
    skip_without_hosts()
    folder = tmp_path_factory.mktemp("laptop")
    with Host("laptop", "127.0.0.1", folder=folder, mark=f"{processes.run_id()}/laptop") as host:
        yield host


@pytest.fixture(scope="module")
def driver(laptop: Host) -> Iterator[LocalDriver]:
    """A script that trains, started by plain `python`; it made a token in its user's home."""
    with LocalDriver("--fault", "sleep", host=laptop) as driver:
        driver.wait_until_stuck(after_step=19)
        assert driver.token_path.exists()
        yield driver
    assert not processes.with_mark(driver.mark)


def test_finds_the_run_without_a_flag(driver: LocalDriver) -> None:
    runs = json.loads(expect_output(driver.run("dsray-inspect", "ls", "--json")))["runs"]
    assert [(run["submission_id"], run["ranks"], run["state"]) for run in runs] == [
        (None, 2, "RUNNING")
    ]
    assert "tests/jobs/train.py" in runs[0]["entrypoint"]


def test_the_script_has_the_only_ray_of_its_host(driver: LocalDriver) -> None:
    status = driver.run("ray", "status", env={"RAY_AUTH_MODE": "token"})
    assert "Active:" in status.stdout, status.stderr


def test_sees_every_rank_without_a_flag(driver: LocalDriver) -> None:
    def whole() -> str:
        """Return a text; none where a busy machine kept a rank from answering in time."""
        done = driver.run("dsray-inspect", "attach")
        assert done.stderr == ""
        text = expect_output(done)
        return text if "2/2 ranks answered, 2/2 stacks" in text else ""

    text = processes.wait_for("both ranks to answer", whole, timeout=180)
    assert "load_batch" in text
    assert "fit()" in text


def test_another_home_needs_no_flag_either(driver: LocalDriver, tmp_path: Path) -> None:
    done = driver.run("dsray-inspect", "attach", env={"HOME": str(tmp_path)})
    assert "load_batch" in expect_output(done)
    assert not (tmp_path / ".ray").exists()


def test_says_where_its_token_lies(driver: LocalDriver) -> None:
    done = driver.run("dsray-inspect", "doctor")
    assert done.returncode == 0, done
    assert "found on this machine" in done.stdout
    assert "auth_token" in done.stdout


def test_a_job_is_found_by_its_id(driver: LocalDriver) -> None:
    def attach(name: str) -> Done:
        return driver.run("dsray-inspect", "attach", name)

    assert "load_batch" in expect_output(attach("01000000"))
    assert "Did you mean 01000000" in expect_error(attach("0100000"), 3)


def test_no_ray_at_all(tmp_path: Path) -> None:
    skip_without_hosts()

    with Host("empty", "127.0.0.1", folder=tmp_path, mark=f"{processes.run_id()}/empty") as host:
        for command in ("ls", "attach", "doctor"):
            said = expect_error(host.run("dsray-inspect", command), 3)
            assert "No Ray cluster runs on this machine." in said
            assert "--address" in said
