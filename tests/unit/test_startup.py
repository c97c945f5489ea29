"""A run's start, rebuilt from recordings of real jobs (`tests/golden/record_start.py`)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dsray_inspect.agent.launchers.ray.milestones import from_history, from_log
from dsray_inspect.agent.launchers.ray.records import TaskHistory
from dsray_inspect.agent.launchers.ray.start import facts_of
from dsray_inspect.agent.launchers.start import Milestones, S, StartFacts
from dsray_inspect.agent.model import Snapshot, Startup
from dsray_inspect.agent.sampling.rank_report import OpBuild
from dsray_inspect.agent.startup.costs import costs_of
from dsray_inspect.agent.startup.enrich import with_start
from dsray_inspect.agent.startup.milestones import from_records
from dsray_inspect.agent.startup.phases import startup_of
from dsray_inspect.agent.startup.ranks import RankStart, parse
from dsray_inspect.agent.startup.reader import Read
from dsray_inspect.agent.startup.spans import joined, start_timeline
from dsray_inspect.agent.text.startup import startup_lines
from dsray_inspect.agent.timeline import Span
from tests.golden.record_start import Kept

GOLDEN = Path(__file__).parents[1] / "golden" / "startup"


def kept(name: str) -> Kept:
    return msgspec.json.decode((GOLDEN / f"{name}.json").read_bytes(), type=Kept)


@pytest.fixture(scope="module")
def submitted() -> Kept:
    return kept("submitted")


def marks_of(kept: Kept) -> Milestones:
    return from_history(kept.history, kept.actors, kept.groups)


def records_of(kept: Kept) -> list[RankStart]:
    found = [parse(text) for text in kept.ranks.values()]
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
    assert all(value >= 0 for value in seconds(startup).values())


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
    assert order == sorted(order, key=lambda at: at or 0)


def test_a_submitted_job_has_deepspeed_and_its_first_step(submitted: Kept) -> None:
    ranks = records_of(submitted)
    startup = startup_of(marks_of(submitted), ranks, now_ns=None)

    assert startup is not None
    assert startup.until == "first_step"
    assert startup.notes == ()
    assert sum(seconds(startup).values()) == pytest.approx(startup.seconds, abs=1e-6)
    initialize = [span for rank in ranks for span in rank.spans if span.name == "initialize"]
    longest = max((span.end_ns or 0) - span.start_ns for span in initialize) / S
    assert seconds(startup)["deepspeed_init"] == pytest.approx(longest, rel=0.05)


def test_the_controllers_log_tells_the_same(submitted: Kept) -> None:
    tables, logged = marks_of(submitted), from_log(submitted.log)

    for name in ("group_ready_ns", "created_ns", "join_ns", "joined_ns", "trained_ns"):
        first, other = getattr(tables, name), getattr(logged, name)
        assert first is not None, name
        assert other is not None, name
        assert abs(first - other) < 0.5 * S, name

    assert not logged.restart


def test_records_tell_the_same(submitted: Kept) -> None:
    driver = parse(submitted.driver or "")
    controller = parse(submitted.controller or "")
    tables, recorded = marks_of(submitted), from_records(driver, controller, records_of(submitted))

    for name in ("fit_ns", "group_asked_ns", "joined_ns", "trained_ns"):
        first, other = getattr(tables, name), getattr(recorded, name)
        assert first is not None, name
        assert other is not None, name
        assert abs(first - other) < 0.5 * S, name


def test_forgotten_task_events_are_made_up_for_by_the_log(submitted: Kept) -> None:
    forgotten = TaskHistory(processes=submitted.history.processes)
    marks = from_history(forgotten, submitted.actors, submitted.groups)
    assert marks.fit_ns is None
    assert marks.trained_ns is None

    startup = startup_of(marks.or_else(from_log(submitted.log)), [], now_ns=None)
    assert startup is not None
    assert startup.until == "train_func"
    assert "fit() itself is forgotten" in " ".join(startup.notes)
    assert sum(seconds(startup).values()) == pytest.approx(startup.seconds, abs=1e-6)


def test_what_nobody_keeps_is_said_not_guessed(submitted: Kept) -> None:
    marks = from_history(TaskHistory(), submitted.actors, submitted.groups)
    startup = startup_of(marks, [], now_ns=None)
    assert startup is not None
    assert startup.until == "partly"
    assert "nothing is kept of it" in " ".join(startup.notes)

    costs = costs_of(startup, StartFacts(), [], None, trains_since_ns=None, now_ns=0)
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
    costs = costs_of(
        startup,
        facts_of(submitted.history, submitted.actors),
        ranks,
        None,
        trains_since_ns=None,
        now_ns=0,
    )
    by_name = {cost.name: cost for cost in costs}
    assert (by_name["op_compile"].detail or "").startswith("deepspeed_shm_comm")
    assert by_name["deepspeed_init"].seconds == pytest.approx(
        seconds(startup)["deepspeed_init"] if startup else None
    )

    built = [OpBuild(name="cpu_adam", seconds=31.0, in_this_process=True)]
    (cost,) = [
        cost
        for cost in costs_of(None, StartFacts(), [], built, trains_since_ns=None, now_ns=0)
        if cost.name == "op_compile"
    ]
    assert (cost.seconds, cost.detail) == (31.0, "cpu_adam 31.0")


def test_a_record_may_be_torn_and_of_another_version() -> None:
    head = '{"v":1,"pid":7,"signal":41,"lost":0}'
    text = f'{head}   \n{{"i":1,"n":"initialize","b":5,"d":0}}\n{{"i":1,"e":9}}\n{{"i":2,"n":"fi'
    start = parse(text)
    assert start is not None
    assert [(span.name, span.start_ns, span.end_ns) for span in start.spans] == [
        ("initialize", 5, 9)
    ]
    assert parse(text.replace('"v":1', '"v":2')) is None
    assert parse("") is None
    assert parse("garbage\n\x00") is None


def snapshot_of(kept: Kept) -> Snapshot:
    """Return a recorded snapshot whose ranks are those of the recorded start."""
    healthy = msgspec.json.decode(
        (GOLDEN.parent / "snapshots" / "healthy.json").read_bytes(), type=Snapshot
    )
    rows = kept.actors.workers
    return msgspec.structs.replace(
        healthy,
        workers=tuple(
            msgspec.structs.replace(
                worker, actor_id=row.actor_id, worker_id=row.worker_id, pid=row.pid
            )
            for worker, row in zip(healthy.workers, rows, strict=False)
        ),
    )


def read_of(kept: Kept, *, recorded: bool = True) -> Read:
    ranks = {key: start for key, text in kept.ranks.items() if (start := parse(text))}
    facts = facts_of(kept.history, kept.actors)
    return Read(facts=facts, marks=marks_of(kept), ranks=ranks if recorded else {})


def test_the_start_becomes_spans_of_the_processes_it_is_in(submitted: Kept) -> None:
    timeline = start_timeline(snapshot_of(submitted), read_of(submitted))
    assert [process.role for process in timeline.processes] == [
        "driver",
        "controller",
        "worker",
        "worker",
    ]
    assert {span.kind for span in timeline.spans} == {"startup"}

    for process in (2, 3):
        own = [span for span in timeline.spans if span.process == process]
        by_name = {span.name: span for span in own}
        made, began = by_name["actor_creation"], by_name["deepspeed_init"]
        assert made.end_ns is not None
        assert began.end_ns is not None
        assert made.start_ns <= by_name["process_spawn"].start_ns
        assert made.end_ns <= by_name["train_func"].start_ns <= began.start_ns
        assert by_name["train_func"].end_ns is None
        assert by_name["op_compile"].attributes == {"dsray.op.name": "deepspeed_shm_comm"}
        inside = [span for span in own if span.name.startswith("deepspeed_init.")]
        assert {"deepspeed_init.optimizer", "deepspeed_init.import_torch._dynamo"} <= {
            span.name for span in inside
        }
        assert all(
            began.start_ns <= span.start_ns and (span.end_ns or 0) <= began.end_ns
            for span in inside
            if span.name != "deepspeed_init.import_deepspeed"
        )


def test_without_records_the_spans_are_what_ray_keeps(submitted: Kept) -> None:
    timeline = start_timeline(snapshot_of(submitted), read_of(submitted, recorded=False))
    names = {span.name for span in timeline.spans}
    assert {"fit", "controller", "placement_group", "actor_creation", "process_spawn"} <= names
    assert {"imports", "ranks_and_env", "rendezvous", "train_func"} <= names
    assert not any("deepspeed" in name for name in names)


def test_a_timeline_takes_the_start_into_its_own_processes(submitted: Kept) -> None:
    start = start_timeline(snapshot_of(submitted), read_of(submitted))
    rank_1 = start.processes[3]
    step = Span(name="step", kind="step", process=0, start_ns=2**62, end_ns=None)
    alone = msgspec.structs.replace(start, processes=(rank_1,), spans=(step,), notes=("one",))
    both = joined(alone, start)

    assert both.processes[0] == rank_1
    assert len(both.processes) == 4
    assert both.spans[-1] == step
    assert both.notes == ("one", *start.notes)
    of_rank_1 = {span.name for span in start.spans if span.process == 3}
    assert {span.name for span in both.spans if span.process == 0} == of_rank_1 | {"step"}


def test_a_restarted_group_is_counted_from_its_own_begin(submitted: Kept) -> None:
    first = submitted.history.tasks
    made = next(span for span in first if span.name == "RayTrainWorker.__init__")
    earlier = msgspec.structs.replace(
        made,
        actor_id="of an attempt before",
        states_ns={name: at_ns - 60 * S for name, at_ns in made.states_ns.items()},
    )
    history = msgspec.structs.replace(submitted.history, tasks=(*first, earlier))
    marks = from_history(history, submitted.actors, submitted.groups)
    startup = startup_of(marks, [], now_ns=None)
    assert marks.restart
    assert startup is not None
    assert startup.restart
    assert "controller" not in seconds(startup)
    assert startup.began_at == pytest.approx((marks.group_asked_ns or 0) / S)


def lines_of(kept: Kept, *, recorded: bool) -> list[str]:
    """Return what `attach` says of a start, after 12 min 34 s."""
    told = with_start(snapshot_of(kept), read_of(kept, recorded=recorded))
    costs = tuple(
        msgspec.structs.replace(cost, seconds=754.0) if cost.name == "training" else cost
        for cost in told.costs
    )
    return startup_lines(msgspec.structs.replace(told, costs=costs))


def test_it_is_told_in_two_lines(submitted: Kept) -> None:
    assert lines_of(submitted, recorded=True) == [
        "start-up    37.2 s: controller 7.5 · actors 6.9 · imports 13.0 · ranks and env 0.5 ·",
        "            DeepSpeed init 9.0 (op compile deepspeed_shm_comm 0.1) · first step 0.2",
        "cost        serialization 3.4 · against 12 min 34 s of training",
    ]


def test_a_job_without_us_is_told_how_to_know_more(submitted: Kept) -> None:
    assert lines_of(submitted, recorded=False) == [
        "start-up    26.9 s to your function: controller 7.5 · actors 6.9 · imports 12.0 · ranks and env 0.5",
        "cost        serialization 3.4 · against 12 min 34 s in your function",
        "            DeepSpeed's set-up and the first step leave no trace of their times; a job started by",
        "            `dsray-inspect submit` records them",
    ]
