"""`--local` on real ranks that torchrun, deepspeed and mpirun started; no Ray anywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.ray import processes
from tests.ray.cluster import environment, outlived_by_none

JOB = processes.ROOT / "tests" / "jobs" / "gloo.py"
RANKS = 3
FAULT_STEP = 20
LAUNCHERS = ("torchrun", "deepspeed", "mpirun")
KINDS = {"torchrun": "torchrun", "deepspeed": "deepspeed", "mpirun": "mpi"}

pytestmark = pytest.mark.xdist_group("no cluster")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(launcher: str, script: list[str]) -> list[str]:
    """Return how a user starts a script with three ranks on one machine."""
    port = free_port()

    if launcher == "torchrun":
        return [
            *("torchrun", f"--nproc-per-node={RANKS}", "--master-addr=127.0.0.1"),
            *(f"--master-port={port}", *script),
        ]

    if launcher == "deepspeed":
        return [
            *("deepspeed", "--num_accelerators", str(RANKS), "--master_addr", "127.0.0.1"),
            *("--master_port", str(port), *script),
        ]

    return [
        *("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(RANKS)),
        *(sys.executable, *script, "--init-method", f"tcp://127.0.0.1:{port}"),
    ]


class Local:
    """A job of one launcher on this machine, and `dsray-inspect` beside it."""

    def __init__(self, launcher: str) -> None:
        self.kind = KINDS[launcher]
        self.folder = processes.own_folder()
        (self.folder / "home").mkdir()
        (self.folder / "tmp").mkdir()
        self.env = environment(self.folder / "home", f"{processes.run_id()}/local")
        script = [str(JOB), "--out", str(self.folder), "--fault-step", str(FAULT_STEP)]
        self._log = (self.folder / "log").open("w")
        self._process = subprocess.Popen(
            outlived_by_none(command(launcher, script)),
            env=self.env,
            cwd=self.folder,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def steps(self) -> list[str]:
        paths = [self.folder / f"rank{rank}.step" for rank in range(RANKS)]
        return [path.read_text() for path in paths if path.exists()]

    def wait_until_stuck(self) -> None:
        def is_stuck() -> bool:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            return self.steps() == [str(FAULT_STEP - 1)] * RANKS

        processes.wait_for(
            "every rank to reach the fault", is_stuck, timeout=processes.START_LIMIT_S
        )

    def world(self) -> str:
        """Return the name of this job's world: its launcher is the process that we started, or a
        child of it.
        """
        ours = {self._process.pid, *(each.pid for each in self._children())}
        names = [row["run_name"] for row in self.json("ls")["runs"]]
        (own,) = [name for name in names if int(name.rpartition("-")[2]) in ours]
        return str(own)

    def pids(self) -> dict[int, int]:
        """Return the process of each rank, by its own variables."""
        found = {}

        for process in self._children():
            variables = process.environ()
            rank = variables.get("RANK") or variables.get("OMPI_COMM_WORLD_RANK")

            if rank is not None and str(JOB) in process.cmdline():
                found[int(rank)] = process.pid

        return found

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["dsray-inspect", *words], env=self.env, capture_output=True, text=True, timeout=300
        )

    def json(self, command: str, *words: str) -> dict[str, Any]:
        done = self.run(command, "--local", "--json", *words)
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def close(self) -> None:
        children = self._children()
        self._process.terminate()

        for process in [*children, psutil.Process(self._process.pid)]:
            if process.is_running():
                process.kill()

        self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children(recursive=True)


@pytest.fixture(scope="module", params=LAUNCHERS)
def job(request: pytest.FixtureRequest) -> Iterator[Local]:
    if request.param == "mpirun" and shutil.which("mpirun") is None:
        pytest.skip("Open MPI is not installed")

    local = Local(request.param)

    try:
        local.wait_until_stuck()
        yield local
    finally:
        local.close()


def test_ls_names_the_world_by_its_launcher(job: Local) -> None:
    world = job.world()
    (row,) = [row for row in job.json("ls")["runs"] if row["run_name"] == world]
    assert world.startswith(f"{job.kind}-")
    assert (row["ranks"], row["nodes"], row["state"]) == (RANKS, 1, "RUNNING")


def test_attach_knows_every_rank(job: Local) -> None:
    snapshot = job.json("attach", job.world())
    workers = snapshot["workers"]
    assert {worker["rank"]: worker["pid"] for worker in workers} == job.pids()
    assert [worker["function"]["name"] for worker in workers] == ["train", "load_batch", "train"]
    assert {worker["evidence"]["stack"] for worker in workers} == {"ok"}


def test_why_blames_the_rank_that_sleeps(job: Local) -> None:
    # A stall counts from some seconds on; `why` itself waits for them.
    why = job.json("why", job.world())
    verdict = why["verdict"]
    assert (verdict["state"], verdict["cause"]) == ("hung", "rank_blocked_in_user_code"), why
    assert verdict["ranks"] == [1]
    text = job.run("why", "--local", job.world()).stdout
    assert "load_batch" in text
    assert f"all_reduce #{FAULT_STEP + 1}" in text, "read from the ranks' memory"


def test_env_says_what_the_launcher_set(job: Local) -> None:
    ranks = job.json("env", job.world())["ranks"]
    name = "OMPI_COMM_WORLD_RANK" if job.kind == "mpi" else "RANK"
    found = {rank["rank"]: rank["env"][name] for rank in ranks}
    assert found == {rank: {"value": str(rank), "source": "launcher"} for rank in range(RANKS)}
    assert ranks[0]["env"]["DS_ACCELERATOR"]["source"] == "inherited"


def test_a_stopped_rank_is_seen_from_outside(job: Local) -> None:
    pid = job.pids()[2]
    os.kill(pid, signal.SIGSTOP)

    try:
        workers = job.json("attach", job.world())["workers"]
    finally:
        os.kill(pid, signal.SIGCONT)

    assert [worker["state"] for worker in workers] == ["alive", "alive", "stopped"]


def test_a_rank_is_named_by_its_pid_too(job: Local) -> None:
    snapshot = job.json("attach", str(job.pids()[0]))
    assert snapshot["run"]["name"] == job.world()


def test_an_unknown_world_is_refused_in_one_sentence(job: Local) -> None:
    done = job.run("why", "--local", "torchrun-1")
    assert done.returncode == 3
    assert done.stderr.startswith("error: This machine has no world of ranks called torchrun-1.")
    assert job.world() in done.stderr


def test_ranks_are_unharmed(job: Local) -> None:
    assert job.steps() == [str(FAULT_STEP - 1)] * RANKS
    assert sorted(job.pids()) == list(range(RANKS))
