"""Terminals, pipes and signals: what is printed where, and how a command ends that is cut short."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.ray import processes, scenarios
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job
from tests.ray.messages import answered

ESCAPE = "\033["
SOON_S = 20.0
AGENTS = ("NodeAgent", "Examiner")


@pytest.fixture(scope="module")
def job(cluster: Cluster) -> Iterator[Job]:
    """A job of two ranks, one of them asleep in user code: there is something to colour."""
    job = scenarios.asleep_in_user_code(cluster)
    yield job
    job.stop()


@pytest.fixture
def argv(cluster: Cluster, job: Job) -> list[str]:
    return ["dsray-inspect", "attach", "--address", cluster.address, job.submission_id]


def in_terminal(
    cluster: Cluster, *argv: str, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command with a terminal as its stdin, stdout and stderr; return its code and output."""
    ours, theirs = pty.openpty()
    variables = cluster.env | {"TERM": "xterm-256color"} | dict(env or {})
    command = subprocess.Popen(
        argv, env=variables, cwd=cluster.dir, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    output = b""

    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while chunk := terminal.read(4096):
                output += chunk
        except OSError:
            pass  # how Linux says that nobody holds the other end

    return command.wait(60), output.decode()


def test_the_text_tells_what_was_before(cluster: Cluster, argv: list[str]) -> None:
    def told() -> list[str]:
        lines = cluster.run(*argv).stdout.splitlines()
        return [line for line in lines if line.startswith("before      ")]

    # A rank's recorder is read once the rank stands still.
    (line,) = processes.wait_for("what was before", told, every=1.0)
    assert re.search(r" in the flight recorders: \d+ steps? of .*, the last one .* ago$", line)


# Colours


def test_colours_on_a_terminal(cluster: Cluster, argv: list[str]) -> None:
    _, output = in_terminal(cluster, *argv, "--text")
    assert ESCAPE in output
    assert "load_batch" in output


@pytest.mark.parametrize(
    ("env", "flags"),
    [({"NO_COLOR": "1"}, ()), ({"TERM": "dumb"}, ()), ({}, ("--no-color",))],
    ids=["NO_COLOR", "dumb", "--no-color"],
)
def test_no_colours_for_who_wants_none(
    cluster: Cluster, argv: list[str], env: dict[str, str], flags: tuple[str, ...]
) -> None:
    _, output = in_terminal(cluster, *argv, "--text", *flags, env=env)
    assert "\033" not in output
    assert "load_batch" in output


@pytest.mark.parametrize("command", ["attach", "stacks", "env", "ls", "doctor"])
def test_no_colours_in_a_pipe(cluster: Cluster, job: Job, command: str) -> None:
    named = () if command in ("ls", "doctor") else (job.submission_id,)
    assert "\033" not in answered(cluster.inspect(command, *named))


# Pipes


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_a_reader_that_goes_away(cluster: Cluster, argv: list[str], flags: tuple[str, ...]) -> None:
    command = start(cluster, *argv, *flags)
    assert command.stdout is not None
    command.stdout.close()
    assert command.wait(60) == 0
    assert said(command) == ""


def test_one_line_is_enough(cluster: Cluster, argv: list[str]) -> None:
    done = cluster.run("bash", "-c", 'set -o pipefail; "$@" | head -1', "bash", *argv)
    assert done.returncode in (0, 1), done
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&-"])
def test_a_closed_stream(cluster: Cluster, argv: list[str], closed: str) -> None:
    done = cluster.run("bash", "-c", f'"$@" {closed}', "bash", *argv)
    assert done.returncode in (0, 1), done
    assert done.stderr == ""
    assert bool(done.stdout) == (closed != "1>&-")


def test_a_full_disk(cluster: Cluster, argv: list[str]) -> None:
    done = cluster.run("bash", "-c", '"$@" --json >/dev/full', "bash", *argv)
    assert done.returncode == 2
    assert done.stderr == "error: The output cannot be written: No space left on device.\n"


def test_data_on_stdout_and_talk_on_stderr(cluster: Cluster, argv: list[str], job: Job) -> None:
    doctor = ("dsray-inspect", "doctor", "--address", cluster.address, "--json")
    done = cluster.run(*doctor)
    assert "Checking the nodes" in done.stderr
    assert json.loads(done.stdout)["schema_version"] == 1
    assert cluster.run(*doctor, "--quiet").stderr == ""

    native = cluster.inspect("stacks", "--native", job.submission_id)
    assert "py-spy pauses each rank" in native.stderr
    assert "py-spy pauses each rank" not in native.stdout
    assert cluster.inspect("stacks", "--native", "--quiet", job.submission_id).stderr == ""
    assert cluster.run(*argv).stderr == ""


def test_options_stand_before_or_after_the_command(cluster: Cluster, job: Job) -> None:
    before = cluster.run("dsray-inspect", "--address", cluster.address, "--json", "ls")
    after = cluster.run("dsray-inspect", "ls", "--json", "--address", cluster.address)
    assert json.loads(answered(before)) == json.loads(answered(after))


# Signals


def start(cluster: Cluster, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        env=cluster.env,
        cwd=cluster.dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said(command: subprocess.Popen[str]) -> str:
    assert command.stderr is not None
    with command.stderr:
        return command.stderr.read().strip()


def agents(cluster: Cluster) -> list[dict[str, Any]]:
    answer = cluster.call("GET", "/api/v0/actors?limit=10000")
    rows = answer["data"]["result"]["result"]
    return [row for row in rows if row["class_name"] in AGENTS and row["state"] != "DEAD"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_a_signal_ends_a_command_at_once(
    cluster: Cluster, argv: list[str], whole_s: float, name: str, part: float
) -> None:
    number = signal.Signals[name]
    command = start(cluster, *argv)
    time.sleep(part * whole_s)
    command.send_signal(number)
    started = time.monotonic()
    _, err = command.communicate(timeout=60)

    # Done before the signal came, ended by us, or by the kernel while Ray's C++ side had us.
    assert command.returncode in (0, 1, 130, -number), err
    assert err.strip() == ""
    assert time.monotonic() - started < SOON_S


@pytest.fixture(scope="module")
def whole_s(cluster: Cluster, job: Job) -> float:
    """Seconds of an attach that nobody cuts short."""
    started = time.monotonic()
    answered(cluster.inspect("attach", job.submission_id))
    return time.monotonic() - started


def test_an_interrupted_command_leaves_nothing(cluster: Cluster, job: Job) -> None:
    """The doctor has actors on every node; they end with it, whenever that is."""
    command = start(cluster, "dsray-inspect", "doctor", "--address", cluster.address, "--json")

    def busy() -> bool:
        return bool(agents(cluster)) or command.poll() is not None

    processes.wait_for("an actor of the doctor", busy, every=0.02)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=60)
    assert "Traceback" not in err
    assert command.returncode in (0, 130, -signal.SIGINT), err
    cluster.wait_for("our actors to be gone", lambda: not agents(cluster))
    assert not processes.in_shared_memory([command.pid, *job.pids().values()])
    assert "load_batch" in answered(cluster.inspect("attach", job.submission_id))
