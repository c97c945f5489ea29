"""Which run is meant, and which of its worker groups is the present one."""

from __future__ import annotations

import msgspec
import pytest

from dsray_inspect.agent.errors import AmbiguousTarget, TargetNotFound
from dsray_inspect.agent.handles import Candidate, ProcessHandle, RunHandle, Submission
from dsray_inspect.agent.launchers.ray.adapters import present_group
from dsray_inspect.agent.launchers.ray.resolve import choose, without_driver
from dsray_inspect.agent.text.runs import choice_note
from tests.unit.samples import job


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
    assert [actor.actor_id for actor in present_group(rows)] == ["b0", "b1"]


def test_a_member_that_died_stays_in_its_group() -> None:
    rows = [*DEAD, row("b0", "ALIVE", group="b", started_at=20), row("b1", "DEAD", group="b")]
    assert [actor.actor_id for actor in present_group(rows)] == ["b1", "b0"]


def test_a_group_of_the_dead_is_shown_when_nobody_follows() -> None:
    assert [actor.actor_id for actor in present_group(DEAD)] == ["a0", "a1"]


@pytest.mark.parametrize(("state", "alive"), [("PENDING_CREATION", True), ("DEAD", False)])
def test_a_run_whose_controller_starts_is_running(state: str, alive: bool) -> None:
    run = RunHandle(generation="v2", controller=row("c", state), workers=())
    assert run.alive is alive


def test_says_why_a_submitted_job_has_no_driver() -> None:
    waits = without_driver("j1", Submission(status="PENDING", message=""))
    assert str(waits) == "Job j1 is PENDING, and its driver has not joined Ray yet."

    failed = without_driver("j1", Submission(status="FAILED", message="No such file."))
    assert str(failed) == "Job j1 ended (FAILED) before its driver joined Ray: No such file."


def candidates(
    job_id: str, *controllers: tuple[str, float], is_dead: bool = False
) -> list[Candidate]:
    """Return the runs of one job, by state and start of their controllers."""
    handle = msgspec.structs.replace(job(), job_id=job_id, submission_id=job_id, is_dead=is_dead)
    return [
        Candidate(
            job=handle,
            actors=RunHandle(
                generation="v2",
                controller=row(f"c{number}", state, started_at=at),
                workers=(row(f"w{number}", state, group="g"),) if at else (),
            ),
            number=number,
            siblings=len(controllers) - 1,
        )
        for number, (state, at) in enumerate(controllers, start=1)
    ]


@pytest.mark.parametrize(
    ("controllers", "number"),
    [
        ((("DEAD", 1.0), ("DEAD", 2.0)), 2),
        ((("DEAD", 1.0), ("ALIVE", 2.0)), 2),
        ((("ALIVE", 1.0), ("DEAD", 2.0)), 1),
        ((("ALIVE", 1.0), ("ALIVE", 2.0)), 2),
        ((("PENDING_CREATION", 0.0), ("ALIVE", 2.0)), 1),
    ],
    ids=["both ended", "the second", "the first", "the newest", "the one that waits"],
)
def test_a_job_with_several_runs_means_the_one_that_needs_attention(
    controllers: tuple[tuple[str, float], ...], number: int
) -> None:
    chosen = choose(candidates("j1", *controllers), "j1")
    assert chosen.number == number
    assert chosen.typed_name == f"j1/{number}"


def test_each_run_of_a_job_has_a_name_to_type() -> None:
    runs = candidates("j1", ("DEAD", 1.0), ("ALIVE", 2.0))
    assert choose(runs, "j1/1").number == 1
    assert choose(runs, "j1/2").number == 2

    with pytest.raises(TargetNotFound):
        choose(runs, "j1/3")


def test_runs_of_two_jobs_are_listed_with_names_that_differ() -> None:
    runs = [*candidates("j1", ("ALIVE", 1.0), ("ALIVE", 2.0)), *candidates("j2", ("ALIVE", 3.0))]

    with pytest.raises(AmbiguousTarget, match="j1/1, j1/2, j2"):
        choose(runs, None)


def test_says_which_run_was_chosen_and_what_the_others_are_called() -> None:
    chosen = choose(candidates("j1", ("DEAD", 1.0), ("ALIVE", 2.0)), "j1")
    assert choice_note(chosen) == "This is run 2 of 2 of job j1; the others: j1/1."
    assert choice_note(candidates("j1", ("ALIVE", 1.0))[0]) is None
