"""A launcher that is not Ray: two processes on this machine, no driver, and no way in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.handles import (
    ALIVE,
    Candidate,
    JobHandle,
    NodeHandle,
    ProcessHandle,
    RunHandle,
)
from dsray_inspect.agent.launchers.base import Launcher, Layout
from dsray_inspect.agent.launchers.this_machine import LOOPBACK, ThisMachine
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.sampling.sampler import Sampler
from dsray_inspect.agent.startup.reader import StartReader
from dsray_inspect.agent.unavailable import Unavailable

HERE = "this-machine"
NO_WAY_IN = Unavailable(reason="disabled", detail="processes of this launcher cannot be asked")
NO_START = Unavailable(reason="not_asked", detail="this launcher keeps no times")


class LocalLauncher:
    """Knows the pids of one run."""

    name = "local"
    address = "localhost"

    def __init__(self, pids: list[int]) -> None:
        self.job = JobHandle(
            job_id="job",
            submission_id=None,
            entrypoint="train.py",
            namespace="",
            driver_pid=0,
            driver_ip=LOOPBACK,
            driver_node_id=HERE,
            is_dead=False,
            started_at=0.0,
            ended_at=None,
            runtime_env_vars={},
        )
        self.run = RunHandle(
            generation="local",
            controller=None,
            workers=tuple(
                ProcessHandle(
                    actor_id=f"rank-{number}",
                    job_id="job",
                    state=ALIVE,
                    pid=pid,
                    node_id=HERE,
                    node_ip=LOOPBACK,
                    runtime_env_vars={},
                    started_at=0.0,
                    rank=number,
                )
                for number, pid in enumerate(pids)
            ),
        )

    def close(self) -> None:
        pass

    def runs(self, *, inject: bool = True) -> list[Candidate]:
        return [Candidate(job=self.job, actors=self.run)]

    def find(self, name: str | None, *, inject: bool = True) -> Candidate:
        return self.runs()[0]

    def refresh(self, job: JobHandle, run: RunHandle | None) -> tuple[JobHandle, RunHandle | None]:
        return job, run

    def layout(self, job: JobHandle, run: RunHandle | None, *, helpers: bool = False) -> Layout:
        node = NodeHandle(node_id=HERE, ip=LOOPBACK, hostname="me", alive=True, resources={})
        return Layout(nodes=[node])

    def running_tasks(self, job: JobHandle) -> None:
        return None

    def in_process(self, run: RunHandle | None = None) -> Unavailable:
        return NO_WAY_IN

    def node_readers(self) -> ThisMachine:
        return ThisMachine(HERE)

    def preflight(self) -> Unavailable:
        return NO_WAY_IN

    def start(self, job: JobHandle, run: RunHandle) -> Unavailable:
        return NO_START

    def start_from_log(self, run: RunHandle) -> None:
        return None


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    code = "import time; print(flush=True); time.sleep(60)"
    ranks = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)
    ]

    try:
        for rank in ranks:
            assert rank.stdout is not None
            rank.stdout.readline()

        yield LocalLauncher([rank.pid for rank in ranks])
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


def test_ranks_without_a_way_in_are_read_from_outside(launcher: Launcher) -> None:
    found = launcher.find(None)
    sampler = Sampler(launcher)

    try:
        request = SampleRequest(max_pause_ms=100.0)
        observation = sampler.sample(found.job, found.actors, request)
    finally:
        sampler.close()

    assert set(observation.ranks.values()) == {NO_WAY_IN}
    pids = [process.pid for process in found.actors.workers] if found.actors else []
    assert all(observation.process(HERE, pid).state is not None for pid in pids)

    snapshot = assemble(observation).snapshot
    assert [(worker.rank, worker.pid) for worker in snapshot.workers] == list(enumerate(pids))
    assert {worker.evidence.worker for worker in snapshot.workers} == {str(NO_WAY_IN)}
    assert (snapshot.driver, snapshot.notes) == (None, ())


def test_a_start_that_nobody_keeps_is_said(launcher: Launcher) -> None:
    found = launcher.find(None)
    reader = StartReader(launcher)
    assert found.actors is not None

    try:
        assert reader._read(found.job, found.actors).notes == (str(NO_START),)
    finally:
        reader.close()
