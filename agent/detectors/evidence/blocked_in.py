"""What a rank that waits in no collective stands in, and so what it would be to blame for."""

from __future__ import annotations

from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.causes import CAUSE_OF_PHASE
from dsray_inspect.agent.detectors.findings import place_of
from dsray_inspect.agent.model import Cause, Frame


def cause_of(member: RankContext) -> Cause | None:
    """Return the cause, None for a phase that tells none."""
    if member.worker.state != "alive":
        return None

    cause = CAUSE_OF_PHASE.get(member.worker.phase)

    if cause == "rank_blocked_in_user_code" and object_wait_of(member) is not None:
        return "object_wait"

    return cause


def object_wait_of(member: RankContext) -> Frame | None:
    """Return the frame of `ray.get` or `ray.wait` that the training thread is in."""
    thread = member.training
    return thread.stack.object_wait if thread else None


def is_reporting(member: RankContext) -> bool:
    return member.worker.state == "alive" and member.worker.phase == "report"


def quiet_s(member: RankContext) -> float | None:
    """Return the seconds since the rank came to its newest collective, None when not known."""
    return min((one.age_s for one in member.worker.collectives), default=None)


def place(member: RankContext) -> str:
    """Return "load_batch (train.py:25)", or the phase."""
    function = member.worker.function
    return place_of(function) if function is not None else member.worker.phase
