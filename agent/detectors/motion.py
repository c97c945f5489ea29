"""What a process did between two looks: whether it stands still, computes, or moves bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.assemble.threads import Seen
from dsray_inspect.agent.assemble.workers import Member
from dsray_inspect.agent.stacks.phase import training_thread

LEAST_APART_S = 0.3
STILL_THREAD = 0.05
STILL_PROCESS = 0.25
"""Shares of one core: Ray's own threads in a worker need about 0.03."""
STILL_BYTES = 1 << 20
"""Bytes a second."""


class Motion(msgspec.Struct, frozen=True, kw_only=True):
    """Shares are of one core, 0 to 1 and above for several threads; None where not known."""

    apart_s: float
    thread_share: float | None
    process_share: float | None
    children_share: float
    bytes_a_second: float

    @property
    def is_still(self) -> bool:
        """Whether neither the thread nor its process or children did anything to speak of."""
        return (
            (self.thread_share or 0.0) < STILL_THREAD
            and (self.process_share or 0.0) < STILL_PROCESS
            and self.children_share < STILL_PROCESS
            and self.bytes_a_second < STILL_BYTES
        )

    def text(self) -> str:
        parts = [
            f"{100 * (self.thread_share or 0):.0f} % of a core in its training thread",
            f"{100 * (self.process_share or 0):.0f} % in all of it",
        ]

        if self.children_share:
            parts.append(f"{100 * self.children_share:.0f} % in its children")

        if self.bytes_a_second >= STILL_BYTES:
            parts.append(f"{self.bytes_a_second / 1e6:.0f} MB/s read and written")

        return f"{', '.join(parts)}, in {self.apart_s:.1f} s"


def motion_of(facts: Facts, member: Member) -> Motion | None:
    """Return what a rank did since the last look, None where it was not seen in both."""
    before = before_of(facts, member)
    return None if before is None else between(facts, before, member)


def before_of(facts: Facts, member: Member) -> Member | None:
    if facts.earlier is None:
        return None

    worker = member.worker
    same = (
        one
        for one in facts.earlier.members
        if (one.worker.actor_id, one.worker.pid) == (worker.actor_id, worker.pid)
    )
    return next(same, None)


def between(facts: Facts, before: Member, now: Member) -> Motion | None:
    assert facts.earlier is not None
    apart_s = facts.snapshot.taken_at - facts.earlier.snapshot.taken_at

    if apart_s < LEAST_APART_S or not (before.progress and now.progress):
        return None

    return Motion(
        apart_s=apart_s,
        thread_share=thread_share(before.seen, now.seen, apart_s),
        process_share=difference(before.progress, now.progress, "cpu_s") / apart_s,
        children_share=children_share(before.progress, now.progress, apart_s),
        bytes_a_second=difference(before.progress, now.progress, "moved_bytes") / apart_s,
    )


def difference(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> float:
    return max(0.0, float(now.get(name, 0)) - float(before.get(name, 0)))


def thread_share(before: Seen, now: Seen, apart_s: float) -> float | None:
    one, other = training_thread(before.threads), training_thread(now.threads)

    if one is None or other is None or one.ran_s is None or other.ran_s is None:
        return None

    return max(0.0, other.ran_s - one.ran_s) / apart_s


def children_share(before: Mapping[str, Any], now: Mapping[str, Any], apart_s: float) -> float:
    known = {child["pid"]: child["cpu_s"] for child in before.get("children", ())}
    ran = sum(max(0.0, child["cpu_s"] - known.get(child["pid"], 0.0)) for child in now["children"])
    return float(ran) / apart_s
