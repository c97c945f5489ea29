"""Which run is watched while jobs and runs come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.errors import TargetNotFound
from dsray_inspect.agent.feed import Ended, SampleTaken
from dsray_inspect.agent.handles import Candidate, JobHandle, ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.ray.resolve import choose
from dsray_inspect.agent.model import Run, Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.exporters.run_watcher import RunWatcher, Waiting
from tests.unit import snapshots

ASK = SampleRequest(max_pause_ms=0)


def job(number: int, *, dead: bool = False) -> JobHandle:
    return JobHandle(
        job_id=f"0{number}000000",
        submission_id=f"job-{number}",
        entrypoint="python train.py",
        namespace="",
        driver_pid=1,
        driver_ip="127.0.0.1",
        driver_node_id="n",
        is_dead=dead,
        started_at=0,
        ended_at=None,
        runtime_env_vars={},
    )


def run(name: str, number: int, *, dead: bool = False, job_dead: bool | None = None) -> Candidate:
    """Return a run of job `number`; `name` is its controller's id."""
    controller = ProcessHandle(
        actor_id=name,
        job_id=f"0{number}000000",
        class_name="TrainController",
        module="",
        state="DEAD" if dead else "ALIVE",
        pid=2,
        node_id="n",
        node_ip="127.0.0.1",
        worker_id="w",
        owner_worker_id="d",
        placement_group_id=None,
        gpu_slots=(),
        gpu_share=1,
        runtime_env_vars={},
        started_at=0,
        death_cause="",
        raw=b"",
    )
    return Candidate(
        job=job(number, dead=dead if job_dead is None else job_dead),
        actors=RunHandle(generation="v2", controller=controller, workers=()),
        run_name="night",
    )


class Cluster:
    """A cluster that changes with each sample as it is told to."""

    def __init__(self, *states: list[Candidate]) -> None:
        self._states: Iterator[list[Candidate]] = iter(states)
        self.now: list[Candidate] = next(self._states)

    def turn(self) -> None:
        self.now = next(self._states, self.now)

    def find(self, name: str | None, *, inject: bool = True) -> Candidate:
        return choose(self.now, name)

    def refreshed(self, candidate: Candidate) -> Candidate:
        for run in self.now:
            if candidate.actors and run.actors and run.actors.is_same(candidate.actors):
                return run
        return next((run for run in self.now if run.job.job_id == candidate.job.job_id), candidate)

    def snapshot(self, candidate: Candidate, ask: SampleRequest) -> Snapshot:
        snapshot = snapshots.recorded("healthy")
        over = candidate.actors is None or not candidate.actors.alive
        controller = (
            candidate.actors.controller.actor_id
            if candidate.actors and candidate.actors.controller
            else None
        )
        state = "FINISHED" if candidate.job.is_dead else "RUNNING"
        seen = msgspec.structs.replace(
            snapshot,
            job=msgspec.structs.replace(snapshot.job, job_id=candidate.job.job_id, state=state),
            run=Run(
                id=controller, name="night", attempt=None, state="FINISHED" if over else "RUNNING"
            )
            if candidate.actors
            else None,
        )
        self.turn()
        return seen


def watched(cluster: Cluster, name: str | None, *, most: int = 20, **more: Any) -> list[str]:
    """Return what happened, shortly, until it ended or `most` events."""
    watching = RunWatcher(cluster, name, ASK, every_s=0.0, sleep=lambda _s: cluster.turn(), **more)
    told = []
    for event in watching:
        if isinstance(event, SampleTaken):
            told.append(f"seen {event.snapshot.run.id if event.snapshot.run else 'no run'}")
        elif isinstance(event, Ended):
            told.append("ended")
        elif isinstance(event, Waiting):
            told.append("waiting")
        if len(told) == most:
            break
    return told


def test_it_ends_with_the_job() -> None:
    cluster = Cluster([run("a", 1)], [run("a", 1)], [run("a", 1, dead=True)])
    assert watched(cluster, "night", wait=False) == ["seen a", "seen a", "seen a", "ended"]


def test_a_job_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TargetNotFound):
        watched(Cluster([]), "night", wait=False)


def test_it_waits_for_the_job_and_for_its_next_run() -> None:
    over = run("a", 1, dead=True)
    cluster = Cluster([], [], [run("a", 1)], [over], [over], [over, run("b", 2)])
    assert watched(cluster, "night", wait=True, most=8) == [
        "waiting",
        "waiting",
        "seen a",
        "seen a",
        "ended",
        "waiting",
        "seen b",
        "seen b",
    ]


def test_a_job_that_had_ended_before_we_came_is_not_waited_out() -> None:
    cluster = Cluster([run("a", 1, dead=True)], [run("a", 1, dead=True), run("b", 2)])
    assert watched(cluster, "night", wait=True, most=2) == ["waiting", "seen b"]


@pytest.mark.parametrize("wait", [True, False])
def test_a_cluster_that_does_not_answer_is_waited_for_only_when_asked(wait: bool) -> None:
    class Silent(Cluster):
        def find(self, name: str | None, *, inject: bool = True) -> Candidate:
            raise RuntimeError("GCS is gone")

    if wait:
        assert watched(Silent([]), "night", wait=True, most=2) == ["waiting", "waiting"]
    else:
        with pytest.raises(RuntimeError):
            watched(Silent([]), "night", wait=False)


def test_a_job_without_a_run_gets_one() -> None:
    cluster = Cluster([Candidate(job=job(1), actors=None)], [run("a", 1)])
    assert watched(cluster, "job-1", wait=False, most=2) == ["seen no run", "seen a"]


def test_the_next_run_of_the_same_driver_is_followed() -> None:
    over = run("a", 1, dead=True, job_dead=False)
    cluster = Cluster([run("a", 1)], [over], [over, run("b", 1)])
    told = watched(cluster, "job-1", wait=False, most=4)
    assert told == ["seen a", "seen a", "seen b", "seen b"]


def test_a_run_that_is_named_is_not_left_for_another() -> None:
    over = msgspec.structs.replace(run("a", 1, dead=True, job_dead=False), run_id="aaaaaaaa")
    cluster = Cluster([over], [over, msgspec.structs.replace(run("b", 1), run_id="bbbbbbbb")])
    assert watched(cluster, "aaaaaaaa", wait=False, most=3) == ["seen a"] * 3
