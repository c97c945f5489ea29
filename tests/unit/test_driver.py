"""A driver that has no run yet: whether it is blocked, busy, or waits for others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.verdict import judge
from tests.unit.test_verdict import SITE, job, node

PID = 10
APART_S = 1.0
DOING: dict[str, Any] = {"cpu_s": 10.0, "moved_bytes": 0, "children": [], "dials": []}
MAIN = ("main", "/app/train.py", 40)
DOWNLOAD = ("download", "/app/train.py", 12)
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


def look(process: dict[str, Any], at: float, earlier: AnalysisInput | None = None) -> AnalysisInput:
    observation = Observation(
        job=job(),
        actors=None,
        nodes=[NodeHandle(node_id="n1", ip="10.0.0.1", hostname="h", alive=True, resources={})],
        request=SampleRequest(max_pause_ms=100),
        node_reports={"n1": node({"processes": {PID: process}})},
        taken_at=at,
    )
    return assemble(observation, earlier=earlier)


def judged(before: dict[str, Any], now: dict[str, Any]) -> Snapshot:
    return judge(look(now, 100.0 + APART_S, earlier=look(before, 100.0)))


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
        "No workers yet: the driver is in download (train.py:12) and has not come to fit()."
    )


def test_a_driver_in_fit_waits_for_its_controller() -> None:
    snapshot = judged(driver(MAIN, FIT, GET, idle_s=90), driver(MAIN, FIT, GET, idle_s=91))
    assert snapshot.findings == ()


@pytest.mark.parametrize(("idle_s", "cause"), [(9.0, None), (60.0, "driver_blocked")])
def test_a_driver_in_ray_get_is_given_time(idle_s: float, cause: str | None) -> None:
    one = driver(MAIN, DOWNLOAD, GET, idle_s=idle_s)
    assert judged(one, one).verdict.cause == cause
