"""What goes wrong between a user and a cluster: one sentence, what to type, the right exit code."""

from __future__ import annotations

import contextlib
import http.server
import os
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job
from tests.ray.messages import Done, expect_error, expect_output
from tests.ray.users import NOBODY, READER

SOON_S = 20.0
"""Far more than any refusal takes, and half of what Ray's own client waits at a dead port."""
SET_VERSIONS = """
import json, sys
from ray._raylet import GcsClient
gcs = GcsClient(address=sys.argv[1])
raw = gcs.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster")
changed = json.loads(raw) | {"ray_version": sys.argv[2], "python_version": sys.argv[3]}
gcs.internal_kv_put(b"CLUSTER_METADATA", json.dumps(changed).encode(), True, namespace=b"cluster")
"""


def inspect(cluster: Cluster, command: str, *args: str, home: Path, **env: str) -> Done:
    """Run a command as a user without the cluster's home folder, and without a RAY_AUTH_MODE."""
    variables = (f"{name}={value}" for name, value in (env | {"HOME": str(home)}).items())
    return cluster.run(
        *("env", "--unset=RAY_AUTH_MODE", *variables),
        *("dsray-inspect", command, "--address", cluster.address, *args),
    )


def process_of(cluster: Cluster, program: str) -> psutil.Process:
    marked = processes.with_mark(cluster.mark)
    return next(process for process in marked if process.name() == program)


@contextlib.contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


# Jobs and ranks


def test_suggests_a_job_with_a_near_name(cluster: Cluster, healthy_job: Job) -> None:
    name = healthy_job.submission_id
    message = expect_error(cluster.inspect("attach", f"tr{name[3]}{name[2]}{name[4:]}"), 3)
    assert f"Did you mean {name}" in message
    assert "Did you mean" not in expect_error(cluster.inspect("attach", "qqqq"), 3)


def test_a_rank_that_is_not_there(cluster: Cluster, healthy_job: Job) -> None:
    message = expect_error(
        cluster.inspect("stacks", healthy_job.submission_id, "--rank", "7", "--quiet"), 2
    )
    assert "no rank 7 in this run (ranks: 0 to 1)" in message


def test_debug_shows_where_it_happened(cluster: Cluster, healthy_job: Job) -> None:
    done = cluster.inspect("attach", "qqqq", "--debug")
    assert done.returncode == 3
    assert "Traceback (most recent call last)" in done.stderr
    assert "error: This cluster has no job or run called qqqq." in done.stderr


# The command line


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (("attach", "--bogus"), "--bogus"),
        (("stakcs",), "Did you mean stacks?"),
        (("attach", "one", "two"), "two"),
        (("attach", "--timeout", "0"), "timeout"),
        (("attach", "--address", "http://127.0.0.1:8265"), "dashboard"),
        (("attach", "--address", "ray://127.0.0.1:10001"), "Ray Client"),
        (("attach", "--address", "head:port"), "is not an address"),
        (("stacks", "--collapsed", "--json"), "contradict each other"),
        (("stacks", "--log"), "needs a rank"),
        (("stacks", "--lines", "5"), "--log"),
        (("stacks", "--log", "--rank", "0", "--collapsed"), "cannot show logs"),
        (("demo", "--address", "127.0.0.1:6379"), "its own cluster"),
    ],
)
def test_an_impossible_command_line(cluster: Cluster, argv: tuple[str, ...], part: str) -> None:
    assert part in expect_error(cluster.run("dsray-inspect", *argv), 2)


# Addresses


def test_nothing_listens(cluster: Cluster) -> None:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{end.getsockname()[1]}"
        started = time.monotonic()
        message = expect_error(cluster.run("dsray-inspect", "ls", "--address", address), 3)

    assert f"No Ray cluster answers at {address}: Connection refused." in message
    assert time.monotonic() - started < SOON_S


def web_server() -> contextlib.AbstractContextManager[int]:
    return listening(http.server.ThreadingHTTPServer)


def closing() -> contextlib.AbstractContextManager[int]:
    class Closing(http.server.ThreadingHTTPServer):
        def finish_request(self, *_: Any) -> None:
            return

    return listening(Closing)


@contextlib.contextmanager
def listening(kind: type[http.server.ThreadingHTTPServer]) -> Iterator[int]:
    with kind(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        end.listen()
        yield end.getsockname()[1]


@pytest.mark.parametrize(
    ("server", "why"),
    [(web_server, "no Ray GCS"), (closing, "no Ray GCS"), (deaf, "gave no answer")],
)
def test_something_else_listens(
    cluster: Cluster, server: Callable[[], contextlib.AbstractContextManager[int]], why: str
) -> None:
    started = time.monotonic()

    with server() as port:
        done = cluster.run("dsray-inspect", "attach", "--address", f"127.0.0.1:{port}")

    message = expect_error(done, 3)
    assert why in message
    assert "Check the port" in message
    assert time.monotonic() - started < SOON_S


def test_another_server_of_the_cluster_listens(cluster: Cluster) -> None:
    for port in (cluster.dashboard_port, cluster.dashboard_port + 1):
        done = cluster.run("dsray-inspect", "attach", "--address", f"127.0.0.1:{port}")
        assert "Check the port" in expect_error(done, 3)


def test_two_clusters_and_no_address(cluster: Cluster, guarded_cluster: Cluster) -> None:
    message = expect_error(cluster.run("dsray-inspect", "ls"), 2)
    assert "Ray clusters run on this machine" in message
    assert "--address" in message

    for running in (cluster, guarded_cluster):
        assert running.address.partition(":")[2] in message
        assert str(running.dir) in message


# Versions


@pytest.mark.parametrize(
    ("theirs", "sentence"),
    [
        (("2.60.99", platform.python_version()), "the cluster has Ray 2.60.99"),
        ((ray.__version__, "3.11.99"), "the cluster has Python 3.11.99"),
    ],
)
def test_a_cluster_of_other_versions(
    guarded_cluster: Cluster, theirs: tuple[str, str], sentence: str
) -> None:
    with versions(guarded_cluster, *theirs):
        refused = [guarded_cluster.inspect(command, "--quiet") for command in ("attach", "ls")]
        diagnosis = guarded_cluster.inspect("doctor", "--quiet")

    for done in refused:
        assert sentence in expect_error(done, 6)
        assert "the cluster's own image" in done.stderr

    assert diagnosis.returncode == 6
    assert sentence in diagnosis.stdout
    assert diagnosis.stderr == ""


@contextlib.contextmanager
def versions(cluster: Cluster, ray_version: str, python_version: str) -> Iterator[None]:
    """Let the cluster say that it was started with other versions."""

    def say(*versions: str) -> None:
        done = cluster.run(sys.executable, "-c", SET_VERSIONS, cluster.address, *versions)
        assert done.returncode == 0, done.stderr

    say(ray_version, python_version)
    try:
        yield
    finally:
        say(ray.__version__, platform.python_version())


# Time


def test_a_time_limit_ends_what_hangs(guarded_cluster: Cluster) -> None:
    with stopped(process_of(guarded_cluster, "gcs_server")):
        started = time.monotonic()
        done = guarded_cluster.inspect("ls", "--timeout", "0.5")

    assert "time limit has passed" in expect_error(done, 5)
    assert time.monotonic() - started < SOON_S


def test_a_time_limit_ends_a_command_anywhere(cluster: Cluster, healthy_job: Job) -> None:
    for limit_s in (0.1, 0.2, 0.3, 0.4):
        done = cluster.inspect("attach", healthy_job.submission_id, "--timeout", str(limit_s))

        if done.returncode == 5:
            expect_error(done, 5)
        else:
            expect_output(done)


def test_a_gcs_that_is_silent(guarded_cluster: Cluster) -> None:
    with stopped(process_of(guarded_cluster, "gcs_server")):
        message = expect_error(guarded_cluster.inspect("ls"), 3)

    assert "a raylet of its cluster runs here" in message
    log = Path(message.split()[-1])
    assert log.is_relative_to(guarded_cluster.dir)
    assert log.exists()


def test_a_raylet_that_is_stopped(cluster: Cluster, healthy_job: Job) -> None:
    raylet = process_of(cluster, "raylet")

    with stopped(raylet):
        done = cluster.inspect("attach", healthy_job.submission_id)

    assert f"kill -CONT {raylet.pid}" in expect_error(done, 3)


# Tokens


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty home folder, in which no command may leave a token."""
    yield tmp_path
    assert not (tmp_path / ".ray").exists()


@pytest.fixture
def home_with_token(tmp_path: Path) -> Path:
    """A home folder in which an earlier cluster has left its token."""
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("0" * 64)
    return tmp_path


@pytest.mark.parametrize(
    "env",
    [{}, {"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "disabled"}],
    ids=["unset", "token", "disabled"],
)
def test_a_token_that_is_not_needed(
    cluster: Cluster, healthy_job: Job, home_with_token: Path, env: dict[str, str]
) -> None:
    done = inspect(cluster, "attach", healthy_job.submission_id, home=home_with_token, **env)
    assert "2 ranks" in expect_output(done)


def test_token_mode_without_a_token_on_a_cluster_without(
    cluster: Cluster, healthy_job: Job, home: Path
) -> None:
    done = inspect(cluster, "attach", healthy_job.submission_id, home=home, RAY_AUTH_MODE="token")
    assert "2 ranks" in expect_output(done)


@pytest.mark.parametrize("mode", [{}, {"RAY_AUTH_MODE": "token"}], ids=["unset", "token"])
def test_finds_the_token_of_a_local_cluster(
    guarded_cluster: Cluster, home: Path, mode: dict[str, str]
) -> None:
    expect_output(inspect(guarded_cluster, "ls", home=home, **mode))
    doctor = expect_output(inspect(guarded_cluster, "doctor", home=home, **mode))
    assert f"token from {guarded_cluster.home}/.ray/auth_token" in doctor


def test_skips_a_token_of_another_cluster(guarded_cluster: Cluster, home_with_token: Path) -> None:
    expect_output(inspect(guarded_cluster, "ls", home=home_with_token))


def test_a_cluster_takes_the_token_that_is_set(guarded_cluster: Cluster, home: Path) -> None:
    assert guarded_cluster.token
    done = inspect(guarded_cluster, "doctor", home=home, RAY_AUTH_TOKEN=guarded_cluster.token)
    assert "token from RAY_AUTH_TOKEN" in expect_output(done)


@pytest.mark.parametrize("command", ["ls", "attach", "doctor"])
def test_a_cluster_refuses_another_token(
    guarded_cluster: Cluster, home: Path, command: str
) -> None:
    done = inspect(guarded_cluster, command, "--quiet", home=home, RAY_AUTH_TOKEN="wrong")
    assert "refused the token in RAY_AUTH_TOKEN" in expect_error(done, 4)


def test_says_which_side_of_a_token_mismatch_is_wrong(
    guarded_cluster: Cluster, home_with_token: Path
) -> None:
    def message(**env: str) -> str:
        return expect_error(inspect(guarded_cluster, "ls", home=home_with_token, **env), 4)

    assert "RAY_AUTH_MODE=disabled is set here" in message(RAY_AUTH_MODE="disabled")
    assert "refused the token in ~/.ray/auth_token" in message(RAY_AUTH_MODE="token")
    assert "/nowhere, which RAY_AUTH_TOKEN_PATH names" in message(RAY_AUTH_TOKEN_PATH="/nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_no_token_at_all(guarded_cluster: Cluster, home: Path) -> None:
    done = guarded_cluster.run(
        *("env", "--unset=RAY_AUTH_MODE", f"HOME={home}", *NOBODY),
        *("dsray-inspect", "ls", "--address", guarded_cluster.address),
    )
    assert "wants a token, and none is set here" in expect_error(done, 4)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_raylet_of_another_user(cluster: Cluster, healthy_job: Job) -> None:
    done = cluster.run(
        *(
            *READER,
            "dsray-inspect",
            "attach",
            healthy_job.submission_id,
            "--address",
            cluster.address,
        )
    )
    assert "Run dsray-inspect as user 0" in expect_error(done, 4)


# Interrupts while something hangs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_silent_gcs_does_not_keep_an_interrupted_command(
    guarded_cluster: Cluster, number: signal.Signals
) -> None:
    argv = ("dsray-inspect", "ls", "--address", guarded_cluster.address)

    with stopped(process_of(guarded_cluster, "gcs_server")):
        command = psutil.Popen(argv, env=guarded_cluster.env, cwd=guarded_cluster.dir)
        processes.wait_for("it to connect", lambda: command.net_connections("tcp"))
        command.send_signal(number)
        started = time.monotonic()
        assert command.wait(60) == 130

    assert time.monotonic() - started < SOON_S
