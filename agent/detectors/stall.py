"""Ranks that keep their peers waiting: they reach no collective, report or step."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.detection import (
    STALLED_S,
    Detection,
    Facts,
    Place,
    Where,
    place_of,
    rank_numbers,
)
from dsray_inspect.agent.detectors.evidence.activity import Activity, activity_of
from dsray_inspect.agent.detectors.evidence.blocked_calls import EndWait, end_waits
from dsray_inspect.agent.detectors.evidence.blocked_in import (
    cause_of,
    is_reporting,
    quiet_s,
    where,
)
from dsray_inspect.agent.detectors.evidence.collective_waits import (
    is_quiet,
    longest_s,
    stall_s,
    waits,
)
from dsray_inspect.agent.detectors.evidence.file_locks import LockWait, file_lock_waits
from dsray_inspect.agent.detectors.evidence.input_pipeline import (
    ShardWait,
    in_ray_data,
    input_pipeline,
)
from dsray_inspect.agent.detectors.evidence.object_producers import Producer, producers_of
from dsray_inspect.agent.detectors.evidence.stall_attribution import (
    StallCandidate,
    Victims,
    candidates,
    sequence_behind,
    stall_spec,
    victims_of,
)
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Cause, Record
from dsray_inspect.agent.sampling.process_probe import ChildProcess

MOST_CHILDREN = 4
MOST_PRODUCERS = 3


class Child(Record, frozen=True, kw_only=True):
    """A process below a rank that loads data, and where it is."""

    pid: int | None
    place: Place


class LateRank(Record, frozen=True, kw_only=True):
    """A rank that others wait for."""

    rank: int | None
    pid: int
    where: Where
    activity: Activity | None
    idle_s: float | None
    """Since its training thread last ran, None where the kernel does not tell."""
    last_sequence: int | None = None
    """Its last collective in the group of those that wait, where it is behind them."""
    children: tuple[Child, ...] = ()
    file_locks: tuple[LockWait, ...] = ()
    ends: tuple[EndWait, ...] = ()
    child_processes: tuple[ChildProcess, ...] = ()
    """Those that it waits for."""
    awaited: tuple[Place, ...] = ()
    """The coroutines that its event loop waits for, outermost first."""


class StalledRanks(Facts, frozen=True, kw_only=True):
    """Ranks that are blocked at one place for one reason, or still run there."""

    blocked_by: Cause
    late: tuple[LateRank, ...]
    is_still: bool
    stalled_s: float
    victims: Victims
    producer: Producer | None
    """The actor that still produces what they wait for."""
    producers: tuple[Producer, ...] = ()
    shard_wait: ShardWait | None = None
    """Whom the dataset shard waits for that they wait for."""


class LeftTraining(Facts, frozen=True, kw_only=True):
    """A rank that has returned from the training function while its peers go on."""

    rank: int | None
    last_sequence: int | None
    victims: Victims


class EveryRankBlocked(Facts, frozen=True, kw_only=True):
    """All ranks are idle outside any collective."""

    blocked_by: Cause
    ranks: tuple[LateRank, ...]
    lasts_s: float


@detector(
    causes=(
        "rank_blocked_in_user_code",
        "data_stall",
        "checkpoint_stall",
        "object_wait",
        "straggler",
        "rank_divergence",
        "report_barrier",
    ),
    after=("rendezvous_wait", "input_starved"),
)
def blocked_outside_collective(sample: AnalysisInput) -> list[Detection]:
    """Some ranks wait for others, and these are somewhere else."""
    waiting = waits(sample)
    inside = [wait.member for wait in waiting]
    entered = set(map(id, inside))
    outside = [member for member in sample.members if id(member) not in entered]
    reporting = [member for member in outside if is_reporting(member)]
    late = [member for member in outside if cause_of(member) is not None]
    gone = [member for member in outside if member.worker.phase == "finished"]

    # A rank that is none of these is the business of another detector.
    if len(late) + len(gone) + len(reporting) < len(outside):
        return []

    if not waiting and not reporting:
        return [] if gone else _nobody_waits(sample, late)

    # One long wait is enough: a sample with --native resets the idle times of others.
    if not any(wait.is_stall for wait in waiting) and not any(map(is_quiet, reporting)):
        return []

    numbers = rank_numbers(member.worker for member in (*inside, *reporting))
    victims = victims_of(numbers, waiting, longest_s(waiting, reporting))
    return [
        *(_left(member, victims, in_collective=bool(waiting)) for member in gone),
        *blame(sample, late, victims),
    ]


def blame(sample: AnalysisInput, late: Sequence[RankContext], victims: Victims) -> list[Detection]:
    """Blame ranks that are idle; those that still run are slow at most.

    Ranks that are blocked at one place for one reason are reported together.
    """
    producers = producers_of(sample)
    pipeline = sample.view(input_pipeline)
    shard_wait = pipeline.shard_wait if pipeline else None

    if pipeline is not None and pipeline.is_at_fault:
        late = [member for member in late if not in_ray_data(member)]

    return [
        _stalled(sample, same, victims, producers, shard_wait)
        for same in candidates(sample, late, victims, producers)
    ]


def _stalled(
    sample: AnalysisInput,
    same: Sequence[StallCandidate],
    victims: Victims,
    producers: Sequence[Producer],
    shard_wait: ShardWait | None,
) -> Detection:
    first = same[0]
    is_named = first.is_still or stall_spec(first.cause).named_while_active
    return Detection(
        cause=first.cause if is_named else "straggler",
        severity="error" if first.is_still else "warning",
        ranks=rank_numbers(candidate.member.worker for candidate in same),
        facts=StalledRanks(
            blocked_by=first.cause,
            late=tuple(_late_rank(sample, candidate, victims) for candidate in same),
            is_still=first.is_still,
            stalled_s=max(candidate.stalled_s for candidate in same),
            victims=victims,
            producer=first.producer,
            producers=tuple(producers[:MOST_PRODUCERS]) if first.cause == "object_wait" else (),
            shard_wait=shard_wait if in_ray_data(first.member) else None,
        ),
    )


def _late_rank(sample: AnalysisInput, candidate: StallCandidate, victims: Victims) -> LateRank:
    member = candidate.member
    awaited = member.training.stack.awaited if member.training else ()
    return LateRank(
        rank=member.worker.rank,
        pid=member.worker.pid,
        where=where(member),
        activity=candidate.activity,
        idle_s=member.worker.idle_s,
        last_sequence=sequence_behind(member, victims),
        children=_children_of(member) if member.worker.phase == "data" else (),
        file_locks=file_lock_waits(sample, member),
        ends=end_waits(sample, member),
        child_processes=_awaited_children(member),
        awaited=tuple(place_of(frame) for frame in awaited),
    )


def _awaited_children(member: RankContext) -> tuple[ChildProcess, ...]:
    waits_for_them = member.training is not None and member.training.stack.child_wait
    return tuple(member.child_processes[:MOST_CHILDREN]) if waits_for_them else ()


def _children_of(member: RankContext) -> tuple[Child, ...]:
    children = [
        Child(pid=thread.pid, place=place_of(thread.frames[-1]))
        for thread in member.children
        if thread.frames
    ]
    return tuple(children[:MOST_CHILDREN])


def _left(member: RankContext, victims: Victims, *, in_collective: bool) -> Detection:
    """Return the detection of a rank that has returned from the training function."""
    worker = member.worker
    return Detection(
        cause="rank_divergence" if in_collective else "report_barrier",
        severity="error",
        ranks=rank_numbers([worker]),
        facts=LeftTraining(
            rank=worker.rank, last_sequence=sequence_behind(member, victims), victims=victims
        ),
    )


def _nobody_waits(sample: AnalysisInput, late: Sequence[RankContext]) -> list[Detection]:
    """Every rank is idle outside any collective, for one reason and far longer than ever before.

    Before there is a rhythm they may prepare their data for as long as they like.
    """
    pipeline = sample.view(input_pipeline)

    if pipeline is not None and pipeline.is_at_fault:
        return []  # the detector of the input has the reason

    causes = {cause_of(member) for member in late}
    activities = [activity_of(sample, member) for member in late]

    if len(causes) != 1 or not all(activity and activity.is_still for activity in activities):
        return []

    if not all(map(_is_beyond_its_rhythm, late)):
        return []

    cause = next(iter(causes))
    assert cause is not None
    return [
        Detection(
            cause=cause,
            severity="error",
            ranks=rank_numbers(member.worker for member in late),
            facts=EveryRankBlocked(
                blocked_by=cause,
                lasts_s=min(quiet_s(member) or 0.0 for member in late),
                ranks=tuple(
                    LateRank(
                        rank=member.worker.rank,
                        pid=member.worker.pid,
                        where=where(member),
                        activity=activity,
                        idle_s=member.worker.idle_s,
                    )
                    for member, activity in zip(late, activities, strict=True)
                ),
            ),
        )
    ]


def _is_beyond_its_rhythm(member: RankContext) -> bool:
    """Return whether a rank has been quiet for longer than between any two of its collectives."""
    longest_gap_s, seconds = member.worker.longest_gap_s, quiet_s(member)
    return (
        longest_gap_s is not None
        and seconds is not None
        and seconds >= max(STALLED_S, stall_s(longest_gap_s))
    )
