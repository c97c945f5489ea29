"""Which run is meant, and which of its worker groups is the present one."""

from __future__ import annotations

import pytest

from dsray_inspect.agent.handles import ProcessHandle, RunHandle, Submission
from dsray_inspect.agent.launchers.ray.adapters import present_group
from dsray_inspect.agent.launchers.ray.resolve import without_driver


def row(
    actor_id: str, state: str, *, group: str | None = None, started_at: float = 0.0
) -> ProcessHandle:
    return ProcessHandle(
        actor_id=actor_id,
        job_id="01000000",
        class_name="RayTrainWorker",
        module="ray.train.v2._internal.execution.worker_group.worker",
        state=state,
        pid=0,
        node_id="",
        node_ip="",
        worker_id="",
        owner_worker_id="c",
        placement_group_id=group,
        gpu_slots=(),
        gpu_share=1.0,
        runtime_env_vars={},
        started_at=started_at,
        death_cause="",
        raw=b"",
    )


DEAD = [row("a0", "DEAD", group="a", started_at=10), row("a1", "DEAD", group="a", started_at=11)]


@pytest.mark.parametrize("state", ["PENDING_CREATION", "DEPENDENCIES_UNREADY"])
def test_a_group_that_starts_is_the_present_one(state: str) -> None:
    # Ray gives a start only to an actor that is alive.
    rows = [*DEAD, row("b0", state, group="b"), row("b1", state, group="b")]
    assert [one.actor_id for one in present_group(rows)] == ["b0", "b1"]


def test_a_member_that_died_stays_in_its_group() -> None:
    rows = [*DEAD, row("b0", "ALIVE", group="b", started_at=20), row("b1", "DEAD", group="b")]
    assert [one.actor_id for one in present_group(rows)] == ["b1", "b0"]


def test_a_group_of_the_dead_is_shown_when_nobody_follows() -> None:
    assert [one.actor_id for one in present_group(DEAD)] == ["a0", "a1"]


@pytest.mark.parametrize(("state", "alive"), [("PENDING_CREATION", True), ("DEAD", False)])
def test_a_run_whose_controller_starts_is_running(state: str, alive: bool) -> None:
    run = RunHandle(generation="v2", controller=row("c", state), workers=())
    assert run.alive is alive


def test_says_why_a_submitted_job_has_no_driver() -> None:
    waits = without_driver("j1", Submission(status="PENDING", message=""))
    assert str(waits) == "Job j1 is PENDING, and its driver has not joined Ray yet."

    failed = without_driver("j1", Submission(status="FAILED", message="No such file."))
    assert str(failed) == "Job j1 ended (FAILED) before its driver joined Ray: No such file."
