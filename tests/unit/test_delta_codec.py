"""Snapshots as columns: each one comes back, and what did not change is not sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent import delta_codec
from dsray_inspect.agent.delta_codec import Writer, snapshot_of
from dsray_inspect.agent.feed import Ended, SampleTaken
from dsray_inspect.agent.model import Collective, Group, Snapshot, Worker
from dsray_inspect.agent.recording import events_of, line_of
from tests.tui.histories import recorded

replace = msgspec.structs.replace
REDUCE = Collective(
    group="0",
    group_id="0:0-9999",
    sequence=7,
    operation="all_reduce",
    sizes=((33030,),),
    dtype="float",
    age_s=1.5,
    finished=False,
    timeout_s=1800.0,
)


@pytest.fixture
def hung() -> Snapshot:
    return recorded("hung")


def sent(snapshots: list[Snapshot]) -> tuple[list[bytes], list[Snapshot]]:
    """Return the lines of snapshots, and what is read from them."""
    writer = Writer()
    lines = [writer.line(snapshot) for snapshot in snapshots]
    read = [event.snapshot for event in events_of(lines) if isinstance(event, SampleTaken)]
    return lines, read


def later(snapshot: Snapshot, by_s: float) -> Snapshot:
    """Return a snapshot of the same hung job after a while."""
    workers = tuple(
        replace(
            worker,
            idle_s=(worker.idle_s or 0.0) + by_s,
            collectives=tuple(
                replace(each, age_s=each.age_s + by_s) for each in worker.collectives
            ),
        )
        for worker in snapshot.workers
    )
    return replace(snapshot, workers=workers, taken_at=snapshot.taken_at + by_s)


def ten_thousand(like: Worker) -> tuple[Worker, ...]:
    return tuple(
        replace(
            like,
            rank=rank,
            actor_id=f"actor {rank}",
            collectives=(replace(REDUCE, age_s=float(rank)),),
        )
        for rank in range(10_000)
    )


def test_a_change_tells_the_times_alone(hung: Snapshot) -> None:
    snapshots = [hung, later(hung, 0.5), later(hung, 1.0)]
    lines, read = sent(snapshots)
    assert read == snapshots
    told = msgspec.json.decode(lines[1])
    assert sorted(told["columns"]) == ["idle_s"]
    assert sorted(told["fields"]) == ["taken_at"]
    assert len(lines[1]) < len(lines[0]) / 10
    assert read[1].workers[0].env is read[0].workers[0].env


def test_ranks_that_are_alike_are_told_once(hung: Snapshot) -> None:
    everyone = Group(id=REDUCE.group_id or "", name="0", ranks=tuple(range(10_000)))
    snapshot = replace(hung, workers=ten_thousand(hung.workers[0]), groups=(everyone,))
    lines, read = sent([snapshot, later(snapshot, 0.5)])
    assert read == [snapshot, later(snapshot, 0.5)]
    assert len(lines[0]) < 2 << 20
    assert len({id(worker.env) for worker in read[0].workers}) == 1
    assert read[1].groups is read[0].groups


def test_a_new_group_is_told_whole(hung: Snapshot) -> None:
    grown = replace(hung, workers=(*hung.workers, replace(hung.workers[0], rank=9, actor_id="9")))
    lines, read = sent([hung, grown, grown])
    assert read == [hung, grown, grown]
    assert [msgspec.json.decode(line)["is_whole"] for line in lines] == [True, True, False]


def test_nothing_has_changed(hung: Snapshot) -> None:
    lines, read = sent([hung, hung])
    assert read[1].workers is read[0].workers
    assert len(lines[1]) < 200


def test_other_events_stand_between(hung: Snapshot) -> None:
    writer, now = Writer(), later(hung, 0.5)
    ended = Ended(snapshot=now)
    lines = [writer.line(hung), writer.line(now), line_of(ended)]
    assert list(events_of(lines)) == [SampleTaken(snapshot=hung), SampleTaken(snapshot=now), ended]


def test_a_change_of_an_unknown_snapshot_is_refused(hung: Snapshot) -> None:
    writer = Writer()
    writer.line(hung)
    change = writer.line(later(hung, 0.5))

    with pytest.raises(msgspec.ValidationError, match="is not known"):
        snapshot_of(change, None)


def test_a_line_says_what_it_is(hung: Snapshot) -> None:
    assert Writer().line(hung).startswith(delta_codec.PREFIX)


WORKERS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(["data", "forward", "collective"]),
        "step": st.none() | st.integers(0, 3),
        "idle_s": st.none() | st.floats(0, 9),
        "env": st.just({}),
        "collectives": st.lists(
            st.builds(
                replace,
                st.just(REDUCE),
                sequence=st.integers(0, 2),
                group_id=st.sampled_from([None, "0:0-1", "0:0-3"]),
                age_s=st.floats(0, 9),
            ),
            max_size=2,
        ).map(tuple),
    }
)


@given(st.lists(st.lists(WORKERS, max_size=3), min_size=1, max_size=4))
def test_every_snapshot_comes_back(changes: list[list[dict[str, Any]]]) -> None:
    base = recorded("hung")
    snapshots = [
        replace(base, workers=tuple(replace(base.workers[0], **changes) for changes in workers))
        for workers in changes
    ]
    assert sent(snapshots)[1] == snapshots
