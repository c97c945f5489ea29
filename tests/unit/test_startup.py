"""A run's start, rebuilt from recordings of real jobs (`tests/golden/record_start.py`)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dsray_inspect.agent.cluster.records import History
from dsray_inspect.agent.model import Startup
from dsray_inspect.agent.startup.costs import costs_of
from dsray_inspect.agent.startup.marks import Marks, S, from_history, from_log, from_records
from dsray_inspect.agent.startup.parts import startup_of
from dsray_inspect.agent.startup.ranks import RankStart, parse
from tests.golden.record_start import Kept

GOLDEN = Path(__file__).parents[1] / "golden" / "startup"


def kept(name: str) -> Kept:
    return msgspec.json.decode((GOLDEN / f"{name}.json").read_bytes(), type=Kept)


@pytest.fixture(scope="module")
def submitted() -> Kept:
    return kept("submitted")


def marks_of(one: Kept) -> Marks:
    return from_history(one.history, one.actors, one.groups)


def records_of(one: Kept) -> list[RankStart]:
    found = [parse(text) for text in one.ranks.values()]
    return [start for start in found if start is not None]


def seconds(startup: Startup) -> dict[str, float]:
    return {part.name: part.seconds for part in startup.parts}


def test_parts_follow_one_another_and_add_up(submitted: Kept) -> None:
    marks = marks_of(submitted)
    startup = startup_of(marks, [], now_ns=None)

    assert startup is not None
    assert marks.fit_ns is not None
    assert marks.trained_ns is not None
    assert startup.until == "train_func"
    assert sum(seconds(startup).values()) == pytest.approx(startup.seconds, abs=1e-6)
    assert startup.seconds == pytest.approx((marks.trained_ns - marks.fit_ns) / S, abs=1e-6)
    assert list(seconds(startup)) == [
        "controller",
        "placement_group",
        "actor_scheduling",
        "process_start",
        "imports",
        "ranks_and_env",
        "rendezvous",
    ]
    assert all(one >= 0 for one in seconds(startup).values())


def test_moments_come_in_their_order(submitted: Kept) -> None:
    marks = marks_of(submitted)
    order = [
        marks.fit_ns,
        marks.controller_ns,
        marks.group_asked_ns,
        marks.group_ready_ns,
        marks.launched_ns,
        marks.running_ns,
        marks.created_ns,
        marks.join_ns,
        marks.joined_ns,
        marks.trained_ns,
    ]
    assert None not in order
    assert order == sorted(order, key=lambda one: one or 0)


def test_a_submitted_job_has_deepspeed_and_its_first_step(submitted: Kept) -> None:
    ranks = records_of(submitted)
    startup = startup_of(marks_of(submitted), ranks, now_ns=None)

    assert startup is not None
    assert startup.until == "first_step"
    assert startup.notes == ()
    assert sum(seconds(startup).values()) == pytest.approx(startup.seconds, abs=1e-6)
    initialize = [span for rank in ranks for span in rank.spans if span.name == "initialize"]
    longest = max((one.end_ns or 0) - one.start_ns for one in initialize) / S
    assert seconds(startup)["deepspeed_init"] == pytest.approx(longest, rel=0.05)


def test_the_controllers_log_tells_the_same(submitted: Kept) -> None:
    tables, logged = marks_of(submitted), from_log(submitted.log)

    for name in ("group_ready_ns", "created_ns", "join_ns", "joined_ns", "trained_ns"):
        one, other = getattr(tables, name), getattr(logged, name)
        assert one is not None, name
        assert other is not None, name
        assert abs(one - other) < 0.5 * S, name

    assert not logged.restart


def test_records_tell_the_same(submitted: Kept) -> None:
    driver = parse(submitted.driver or "")
    controller = parse(submitted.controller or "")
    tables, recorded = marks_of(submitted), from_records(driver, controller, records_of(submitted))

    for name in ("fit_ns", "group_asked_ns", "joined_ns", "trained_ns"):
        one, other = getattr(tables, name), getattr(recorded, name)
        assert one is not None, name
        assert other is not None, name
        assert abs(one - other) < 0.5 * S, name


def test_forgotten_task_events_are_made_up_for_by_the_log(submitted: Kept) -> None:
    forgotten = History(processes=submitted.history.processes)
    marks = from_history(forgotten, submitted.actors, submitted.groups)
    assert marks.fit_ns is None
    assert marks.trained_ns is None

    startup = startup_of(marks.or_else(from_log(submitted.log)), [], now_ns=None)
    assert startup is not None
    assert startup.until == "train_func"
    assert "fit() itself is forgotten" in " ".join(startup.notes)
    assert sum(seconds(startup).values()) == pytest.approx(startup.seconds, abs=1e-6)


def test_what_nobody_keeps_is_said_not_guessed(submitted: Kept) -> None:
    marks = from_history(History(), submitted.actors, submitted.groups)
    startup = startup_of(marks, [], now_ns=None)
    assert startup is not None
    assert startup.until == "partly"
    assert "nothing is kept of it" in " ".join(startup.notes)

    costs = costs_of(startup, History(), [], None, trains_since_ns=None, now_ns=0)
    unknown = {cost.name for cost in costs if cost.seconds is None}
    assert {"deepspeed_init", "op_compile", "report", "serialization", "training"} <= unknown
    assert all(cost.evidence for cost in costs)


def test_a_start_that_goes_on_reaches_to_now(submitted: Kept) -> None:
    marks = marks_of(submitted)
    assert marks.created_ns is not None
    waiting = msgspec.structs.replace(marks, join_ns=None, joined_ns=None, trained_ns=None)
    startup = startup_of(waiting, [], now_ns=marks.created_ns + 300 * S)
    assert startup is not None
    assert startup.until == "now"
    assert seconds(startup)["ranks_and_env"] > 290


def test_an_op_is_named_with_its_build(submitted: Kept) -> None:
    ranks = records_of(submitted)
    startup = startup_of(marks_of(submitted), ranks, now_ns=None)
    costs = costs_of(startup, submitted.history, ranks, None, trains_since_ns=None, now_ns=0)
    by_name = {cost.name: cost for cost in costs}
    assert (by_name["op_compile"].detail or "").startswith("deepspeed_shm_comm")
    assert by_name["deepspeed_init"].seconds == pytest.approx(
        seconds(startup)["deepspeed_init"] if startup else None
    )

    built = [{"name": "cpu_adam", "seconds": 31.0, "in_this_process": True}]
    (cost,) = [
        one
        for one in costs_of(None, History(), [], built, trains_since_ns=None, now_ns=0)
        if one.name == "op_compile"
    ]
    assert (cost.seconds, cost.detail) == (31.0, "cpu_adam 31.0")


def test_a_record_may_be_torn_and_of_another_version() -> None:
    head = '{"v":1,"pid":7,"signal":41,"lost":0}'
    text = f'{head}   \n{{"i":1,"n":"initialize","b":5,"d":0}}\n{{"i":1,"e":9}}\n{{"i":2,"n":"fi'
    start = parse(text)
    assert start is not None
    assert [(one.name, one.start_ns, one.end_ns) for one in start.spans] == [("initialize", 5, 9)]
    assert parse(text.replace('"v":1', '"v":2')) is None
    assert parse("") is None
    assert parse("garbage\n\x00") is None
