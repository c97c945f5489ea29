"""Which thread holds the GIL of a rank that does not answer."""

from __future__ import annotations

from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.causes import spec_of
from dsray_inspect.agent.detectors.evidence.blocked_in import cause_of
from dsray_inspect.agent.stacks.thread import Thread

HELD_S = 8.0
"""A garbage collection may hold the GIL for some seconds; a peer that waits longer is a victim."""


def gil_holder_of(member: RankContext) -> Thread | None:
    """Return the thread that holds the GIL of a rank which gives no answer.

    None where that is a read or a write: one that hangs is named by what it is for.
    """
    holder, silence = member.seen.gil_keeper, member.silence

    if holder is None or silence is None or silence.reason != "timeout":
        return None

    cause = cause_of(member)
    stall = spec_of(cause).stall if cause else None
    return None if stall is not None and stall.outranks_gil else holder
