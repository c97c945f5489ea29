"""Whether each rank makes progress: by steps and collectives, not by whether it uses a CPU.

One sample knows when a rank entered its newest collective, and how long it has usually gone without
one. Whether a rank that is past that computes or only polls takes two samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dsray_inspect.agent.assemble.advances import NONE_SEEN, Advance, key_of
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.activity import Activity, activity_of
from dsray_inspect.agent.detectors.evidence.blocked_in import is_reporting, object_wait_of
from dsray_inspect.agent.detectors.evidence.collective_waits import waits
from dsray_inspect.agent.detectors.evidence.object_producers import producers_of
from dsray_inspect.agent.model import Record

AS_USUAL = 1.3
"""A rank may go without progress for this many times as long as it has done of late."""
PROMPT_S = 5.0
"""However quick its rhythm, nobody is asked for progress sooner."""
AT_WORK_S = 30.0
"""How long a rank that computes is taken to do something useful without a step or a collective."""
RECORDER_EVERY_S = 5.0
"""How old what a recorder said may be in a session that takes one sample after another."""
MOVING: frozenset[str] = frozenset(["checkpoint", "data"])
"""Phases whose purpose is to move bytes: as long as many are moved, there is progress."""

Pace = Literal["advances", "finished", "waits", "works", "works for long", "is still", "not known"]
IN_MOTION: tuple[Pace, ...] = ("advances", "works")


class RankPace(Record, frozen=True, kw_only=True):
    """One rank: whether it makes progress, and what tells so."""

    member: RankContext
    pace: Pace
    since_s: float | None
    """Since its last step or collective, None where it is not known to have made any."""
    usual_s: float | None
    """The longest time that it went without a collective of late."""
    activity: Activity | None
    """What it did since the last sample, None where two samples do not tell."""


def paces(sample: AnalysisInput) -> tuple[RankPace, ...]:
    """Return the pace of every rank that lives."""
    return sample.view(_find_paces)


def _find_paces(sample: AnalysisInput) -> tuple[RankPace, ...]:
    waiting = {id(wait.member) for wait in waits(sample)}
    return tuple(
        _pace_of(sample, member, is_waiting=id(member) in waiting)
        for member in sample.members
        if member.worker.state == "alive"
    )


def _pace_of(sample: AnalysisInput, member: RankContext, *, is_waiting: bool) -> RankPace:
    advance = advance_of(sample, member)
    since_s = None if advance.at is None else max(0.0, sample.snapshot.taken_at - advance.at)
    activity = activity_of(sample, member)
    is_at_work = activity is not None and (activity.is_at_work or _is_produced(sample, member))
    # A report may upload a checkpoint, so a rank may be at work in it.
    is_waiting = is_waiting or (is_reporting(member) and not is_at_work)
    return RankPace(
        member=member,
        pace=_pace(
            member,
            since_s,
            usual_limit_s(advance.longest_gap_s),
            activity=activity,
            is_waiting=is_waiting,
            is_at_work=is_at_work,
        ),
        since_s=since_s,
        usual_s=advance.longest_gap_s,
        activity=activity,
    )


def advance_of(sample: AnalysisInput, member: RankContext) -> Advance:
    """Return what a rank has last been seen to do, in this session."""
    return sample.advances.get(key_of(member.worker), NONE_SEEN)


def _is_produced(sample: AnalysisInput, member: RankContext) -> bool:
    """Tell whether a rank waits for an object, and an actor of the job is at work."""
    return object_wait_of(member) is not None and any(
        producer.activity.is_at_work for producer in producers_of(sample)
    )


def _pace(
    member: RankContext,
    since_s: float | None,
    limit_s: float,
    *,
    activity: Activity | None,
    is_waiting: bool,
    is_at_work: bool,
) -> Pace:
    if member.worker.phase == "finished":
        return "finished"

    if since_s is not None and since_s <= limit_s:
        return "advances"

    if is_waiting:
        return "waits"

    if activity is None:
        return "not known"

    if not is_at_work:
        return "is still"

    moves_bytes = member.worker.phase in MOVING and activity.moves_bytes
    return "works" if since_s is None or since_s <= AT_WORK_S or moves_bytes else "works for long"


def wait_in_vain(sample: AnalysisInput) -> list[RankPace]:
    """Return the ranks that wait, and not for anybody who advances or works, however indirectly."""
    seen = paces(sample)
    in_motion = {id(rank.member) for rank in seen if rank.pace in IN_MOTION}
    open_waits = _waits_by_what(sample, [rank for rank in seen if rank.pace == "waits"])

    while True:
        ends = [what for what, (_, awaited) in open_waits.items() if awaited & in_motion]

        if not ends:
            return [rank for ranks, _ in open_waits.values() for rank in ranks]

        for what in ends:
            in_motion.update(id(rank.member) for rank in open_waits.pop(what)[0])


def _waits_by_what(
    sample: AnalysisInput, waiting: Sequence[RankPace]
) -> dict[object, tuple[list[RankPace], set[int]]]:
    """Return by collective, or by report, who waits in it and who of its group does not."""
    in_collective = {id(wait.member): wait.collective for wait in waits(sample)}
    by_rank = {member.worker.rank: id(member) for member in sample.members}
    ranks_of = {group.id: group.ranks for group in sample.snapshot.groups}
    found: dict[object, tuple[list[RankPace], set[int]]] = {}

    for rank in waiting:
        entered = in_collective.get(id(rank.member))
        what = (entered.group_key, entered.sequence) if entered is not None else None

        if what not in found:
            named = ranks_of.get(entered.group_id or "") if entered is not None else None
            found[what] = (
                [],
                {by_rank[number] for number in named or by_rank if number in by_rank},
            )

        found[what][0].append(rank)
        found[what][1].discard(id(rank.member))

    return found


def usual_limit_s(gap_s: float | None) -> float:
    """Return how long a rank may go without progress before that needs an explanation."""
    return max(PROMPT_S, AS_USUAL * (gap_s or 0.0))


def needs_counters(last: AnalysisInput | None) -> bool:
    """Tell whether the next sample of a session must show what ranks without progress do.

    That takes two samples: it is asked before their time is up.
    """
    seen = paces(last) if last is not None else ()
    return not seen or any(
        rank.pace != "advances" or (rank.since_s or 0.0) > usual_limit_s(rank.usual_s) / 2
        for rank in seen
    )


def needs_recorders(last: AnalysisInput | None, now: float) -> bool:
    """Tell whether the next sample of a session must read the recorders of ranks that run, too.

    That may pause them for some milliseconds: it is not done in each sample while they advance or
    work.
    """
    seen = paces(last) if last is not None else ()

    if last is None or not any(rank.pace in IN_MOTION for rank in seen):
        return True

    return any(
        rank.pace in ("is still", "not known") or _is_old(advance_of(last, rank.member), now)
        for rank in seen
    )


def _is_old(advance: Advance, now: float) -> bool:
    """Tell whether what a recorder said is too old; where steps are seen to end, it may be older."""
    every_s = RECORDER_EVERY_S if advance.step_at is not None else RECORDER_EVERY_S / 2
    return advance.recorder_at is None or now - advance.recorder_at >= every_s
