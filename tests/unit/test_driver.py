"""A driver that has no run yet: whether it is blocked, busy, or waits for others."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.handles import NodeHandle, RunHandle
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.rank_report import ControllerReport
from dsray_inspect.agent.verdict import judge
from tests.unit.samples import SITE, actor, job, node

PID = 10
APART_S = 1.0
DOING: dict[str, Any] = {"cpu_s": 10.0, "moved_bytes": 0, "children": [], "dials": []}
MAIN = ("main", "/app/train.py", 40)
DOWNLOAD = ("download", "/app/train.py", 12)
PUBLISH = ("publish", "/app/train.py", 70)
WAIT = ("wait", "/usr/lib/python3.11/threading.py", 320)
FIT = ("fit", f"{SITE}/ray/train/v2/api/data_parallel_trainer.py", 180)
GET = ("get", f"{SITE}/ray/_private/worker.py", 3009)


def driver(
    *frames: tuple[str, str, int], idle_s: float = 9.0, ran_s: float = 5.0, **doing: Any
) -> dict[str, Any]:
    """Return what a node tells of the driver's process; frames outermost first."""
    stack = [{"name": name, "filename": file, "line": line} for name, file, line in frames]
    thread = {"thread_name": "MainThread", "os_thread_id": PID, "pid": PID, "frames": stack[::-1]}
    return {
        "state": "alive",
        "stack": {"json": json.dumps([thread]).encode()},
        "idle_s": {PID: idle_s},
        "cpu_times_s": {PID: (ran_s, doing.pop("run_delay_s", 0.0))},
        "counters": {**DOING, **doing},
    }


def sample_at(
    process: dict[str, Any],
    at: float,
    earlier: AnalysisInput | None = None,
    run: RunHandle | None = None,
    run_state: str | None = None,
) -> AnalysisInput:
    observation = Observation(
        job=job(),
        actors=run,
        nodes=[NodeHandle(node_id="n1", ip="10.0.0.1", hostname="h", alive=True, resources={})],
        request=SampleRequest(max_pause_ms=100),
        node_reports={"n1": node({"processes": {PID: process}})},
        taken_at=at,
    )

    if run_state is not None:
        observation.controller = ControllerReport(state=run_state)

    return assemble(observation, earlier=earlier)


def judged(
    before: dict[str, Any],
    now: dict[str, Any],
    run: RunHandle | None = None,
    run_state: str | None = None,
) -> Snapshot:
    earlier = sample_at(before, 100.0, run=run, run_state=run_state)
    return judge(sample_at(now, 100.0 + APART_S, earlier, run, run_state))


def run_of(state: str) -> RunHandle:
    """Return a run of which every actor is in this state."""
    rows = [
        msgspec.structs.replace(actor(number), state=state, worker_id=f"w{number}")
        for number in range(3)
    ]
    return RunHandle(generation="v2", controller=rows[0], workers=tuple(rows[1:]))


def test_a_driver_that_does_nothing_in_its_own_code_is_blocked() -> None:
    snapshot = judged(driver(MAIN, DOWNLOAD), driver(MAIN, DOWNLOAD))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", "driver_blocked")
    assert "blocked in download (train.py:12)" in snapshot.verdict.summary


@pytest.mark.parametrize(
    "now",
    [
        driver(MAIN, DOWNLOAD, ran_s=5.3),
        driver(MAIN, DOWNLOAD, ran_s=5.02, run_delay_s=0.9),
        driver(MAIN, DOWNLOAD, moved_bytes=20 << 20),
        driver(MAIN, DOWNLOAD, cpu_s=10.8),
        driver(MAIN, DOWNLOAD, children=[{"pid": 9, "name": "aws", "state": "R", "cpu_s": 0.7}]),
    ],
    ids=["runs", "queues", "receives", "computes", "has a child at work"],
)
def test_a_driver_that_moves_is_on_its_way(now: dict[str, Any]) -> None:
    snapshot = judged(driver(MAIN, DOWNLOAD), now)
    assert (snapshot.verdict.state, snapshot.findings) == ("starting", ())
    assert snapshot.verdict.summary == (
        "There are no workers yet: the driver is in download (train.py:12) and has not reached fit()."
    )


def test_a_driver_in_fit_waits_for_its_controller() -> None:
    snapshot = judged(driver(MAIN, FIT, GET, idle_s=90), driver(MAIN, FIT, GET, idle_s=91))
    assert snapshot.findings == ()


@pytest.mark.parametrize(("idle_s", "cause"), [(9.0, None), (60.0, "driver_blocked")])
def test_a_driver_in_ray_get_is_given_time(idle_s: float, cause: str | None) -> None:
    sample = driver(MAIN, DOWNLOAD, GET, idle_s=idle_s)
    assert judged(sample, sample).verdict.cause == cause


def test_a_driver_that_hangs_after_fit_is_found_although_its_run_has_finished() -> None:
    stands = driver(MAIN, PUBLISH, WAIT)
    snapshot = judged(stands, stands, run_of("DEAD"))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", "driver_blocked")
    assert snapshot.verdict.summary == (
        "The run has finished, the job has not: its driver is blocked in publish (train.py:70)."
    )


@pytest.mark.parametrize(
    ("run_state", "cause"), [("FINISHED", "driver_blocked"), ("RUNNING", None)]
)
def test_a_controller_may_outlive_its_run(run_state: str, cause: str | None) -> None:
    stands = driver(MAIN, PUBLISH, WAIT)
    snapshot = judged(stands, stands, run_of("ALIVE"), run_state)
    assert ("driver_blocked" if snapshot.verdict.cause == "driver_blocked" else None) == cause


def test_a_driver_is_not_blocked_while_its_run_lives() -> None:
    stands = driver(MAIN, PUBLISH, WAIT)
    assert judged(stands, stands, run_of("ALIVE")).verdict.cause != "driver_blocked"


def test_a_driver_that_works_after_fit_is_said_to_be_there() -> None:
    snapshot = judged(driver(MAIN, PUBLISH), driver(MAIN, PUBLISH, ran_s=5.8), run_of("DEAD"))
    assert (snapshot.verdict.state, snapshot.findings) == ("finished", ())
    assert "its driver is in publish (train.py:70)" in snapshot.verdict.summary
