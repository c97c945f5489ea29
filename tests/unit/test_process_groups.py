"""Process groups of a snapshot: each once, told apart by id where their names are equal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.model import Group, Snapshot
from dsray_inspect.agent.sampling.decode import rank_report
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.stacks.table import StackTable
from tests.unit.samples import entered, judged, rank

REDUCE = (("all_reduce", "all_reduce", "/app/train.py", 30),)


def waiting(number: int, members: Any) -> dict[str, Any]:
    """Return the answer of a rank that waits in a collective of a group with these members."""
    answer = entered(rank(number, REDUCE, 60.0), 69, 60.0)
    return {**answer, "group_ranks": {"1": members}}


def decoded(members: Any) -> RankReport:
    report = rank_report(waiting(0, members), StackTable())
    assert isinstance(report, RankReport)
    return report


@pytest.mark.parametrize(
    ("members", "group_id", "ranks"),
    [
        ([3], "1:3", (3,)),
        ([0, 1, 2], "1:0-2", (0, 1, 2)),
        ({"first": 0, "end": 8, "stride": 1}, "1:0-7", tuple(range(8))),
        ({"first": 0, "end": 7, "stride": 2}, "1:0-6/2", (0, 2, 4, 6)),
    ],
)
def test_the_id_of_a_group_spells_its_ranks(
    members: Any, group_id: str, ranks: tuple[int, ...]
) -> None:
    report = decoded(members)
    assert report.groups == (Group(id=group_id, name="1", ranks=ranks),)
    assert [collective.group_id for collective in report.collectives] == [group_id]  # type: ignore[union-attr]


def test_uneven_groups_with_the_same_ends_differ_in_their_ids() -> None:
    (own,), (theirs,) = decoded([0, 2, 5, 7]).groups, decoded([0, 1, 6, 7]).groups
    assert own.id != theirs.id
    assert own.id.startswith("1:0-7~")


def test_a_group_of_unknown_ranks_has_no_id() -> None:
    report = decoded([])
    assert report.groups == ()
    assert [collective.group_id for collective in report.collectives] == [None]  # type: ignore[union-attr]


def test_all_ranks_of_a_group_share_its_record() -> None:
    members = {"first": 0, "end": 1000, "stride": 1}
    assert decoded(members).groups[0] is decoded(members).groups[0]


def test_a_snapshot_has_each_group_once() -> None:
    snapshot = judged(waiting(0, [0, 1]), waiting(1, [0, 1]), waiting(2, [2, 3]))
    assert [(group.id, group.name) for group in snapshot.groups] == [("1:0-1", "1"), ("1:2-3", "1")]
    ids = {group.id for group in snapshot.groups}
    assert {
        collective.group_id for worker in snapshot.workers for collective in worker.collectives
    } == ids


def run_of(size: int) -> Snapshot:
    members = {"first": 0, "end": size, "stride": 1}
    return judged(*(waiting(number, members) for number in range(size)))


def test_a_snapshot_grows_with_its_ranks_not_with_their_square() -> None:
    small, large = (len(msgspec.json.encode(run_of(size))) for size in (100, 400))
    assert large < 4.1 * small
