"""Ranks that keep their peers waiting: those that come to no collective, report or step."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.activity import motion_of
from dsray_inspect.agent.detectors.evidence.blocked_in import cause_of, is_reporting, place, quiet_s
from dsray_inspect.agent.detectors.evidence.collective_waits import Wait, stall_s, waits
from dsray_inspect.agent.detectors.evidence.stall_attribution import (
    Victims,
    behind_text,
    blame,
    victims_of,
    what,
)
from dsray_inspect.agent.detectors.findings import (
    STALLED_S,
    duration,
    name_ranks,
    next_command,
    ranks,
)
from dsray_inspect.agent.detectors.findings import wait as waits_verb
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Finding


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
    after=("rendezvous_wait",),
)
def blocked_outside_collective(facts: AnalysisInput) -> list[Finding]:
    """Some ranks wait for others, and these are somewhere else."""
    waiting = waits(facts)
    inside = [wait.member for wait in waiting]
    entered = set(map(id, inside))
    outside = [member for member in facts.members if id(member) not in entered]
    reporting = [member for member in outside if is_reporting(member)]
    late = [member for member in outside if cause_of(member) is not None]
    gone = [member for member in outside if member.worker.phase == "finished"]

    # A rank that is none of these has a story of its own, which others tell.
    if len(late) + len(gone) + len(reporting) < len(outside):
        return []

    if not waiting and not reporting:
        return [] if gone else nobody_comes(facts, late)

    # One long wait is enough: a look with --native sets the clock of others back.
    if not any(wait.is_stall for wait in waiting) and not any(map(is_quiet, reporting)):
        return []

    numbers = ranks(member.worker for member in (*inside, *reporting))
    victims = victims_of(numbers, waiting, longest_s(waiting, reporting))
    return [
        *(left(facts, member, victims, in_collective=bool(waiting)) for member in gone),
        *blame(facts, late, victims),
    ]


def is_quiet(member: RankContext) -> bool:
    """Tell whether a rank has come to no collective for longer than its rhythm explains."""
    seconds = quiet_s(member)
    return seconds is not None and seconds >= stall_s(member.worker.longest_gap_s)


def longest_s(waiting: Sequence[Wait], reporting: Sequence[RankContext]) -> float:
    return max((*(wait.waited_s for wait in waiting), *(quiet_s(one) or 0.0 for one in reporting)))


def left(
    facts: AnalysisInput, member: RankContext, victims: Victims, *, in_collective: bool
) -> Finding:
    """The rank has returned from the training function while its peers go on."""
    worker = member.worker
    return Finding(
        cause="rank_divergence" if in_collective else "report_barrier",
        severity="error",
        ranks=ranks([worker]),
        summary=(
            f"Rank {worker.rank} has left the training function; "
            f"{name_ranks(victims.numbers)} {waits_verb(victims.numbers)} for it "
            f"for {duration(victims.waited_s)}."
        ),
        evidence=(
            f"rank {worker.rank}: its training thread has ended",
            victims.text,
            *behind_text(member, victims),
            *victims.end_text,
        ),
        next_step=next_command(facts, "stacks", victims.numbers[:1]),
    )


def nobody_comes(facts: AnalysisInput, late: Sequence[RankContext]) -> list[Finding]:
    """Every rank stands still outside of any collective, far longer than ever before."""
    motions = [motion_of(facts, member) for member in late]
    causes = {cause_of(member) for member in late}
    quiet = [quiet_s(member) for member in late]

    if len(causes) != 1 or not all(motion and motion.is_still for motion in motions):
        return []

    if not all(
        seconds is not None and seconds >= max(STALLED_S, stall_s(member.worker.longest_gap_s))
        for seconds, member in zip(quiet, late, strict=True)
    ):
        return []

    cause = next(iter(causes))
    assert cause is not None
    numbers = ranks(member.worker for member in late)
    lasts_s = min(seconds or 0.0 for seconds in quiet)
    return [
        Finding(
            cause=cause,
            severity="error",
            ranks=numbers,
            summary=(
                f"Every rank is blocked in {what(cause, late[0])} for {duration(lasts_s)}; "
                "none waits for another."
            ),
            evidence=tuple(
                f"rank {member.worker.rank}: {place(member)}; {motion.text()}"
                for member, motion in zip(late, motions, strict=True)
                if motion
            ),
            next_step=next_command(facts, "stacks", numbers[:1], "--locals"),
        )
    ]
