"""What the nodes and edges of the wait-for graph say."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.blocked_in import quiet_s, where
from dsray_inspect.agent.model import Collective
from dsray_inspect.agent.text.findings.phrases import where_name
from dsray_inspect.agent.text.humanize import collective_name, duration

SOME_LOCK: Final = "a compile lock"
OBJECT_STORE: Final = "object store"

NOT_REACHED: Final = "has not reached it"
MEETS_ALL: Final = "waits in it for all ranks"
HELD: Final = "held by it"
IN_RAY_GET: Final = "in ray.get"
AWAITS_REMOVAL: Final = "waits for it to be removed"
CONNECTING: Final = "is connecting to it"
POLLING: Final = "polls it until it returns"

LOCK_STACK: Final = "stack, FileBaton.wait"
GROUP_TABLE: Final = "Ray's placement group table"


def rank_name(member: RankContext) -> str:
    rank = member.worker.rank
    return f"rank {rank}" if rank is not None else process_name(member.worker.pid)


def process_name(pid: int) -> str:
    return f"pid {pid}"


def end_wait(kind: str, *, writes: bool) -> str:
    return (
        f"waits until it reads from the {kind}"
        if writes
        else f"waits for it to write to the {kind}"
    )


def child_name(pid: int) -> str:
    return f"child {pid}"


def placement_group_name(group_id: str) -> str:
    return f"placement group {group_id[:8]}"


def meeting_name(collective: Collective | None) -> str:
    return collective_name(collective) if collective is not None else "a collective"


def rank_detail(member: RankContext) -> str:
    return f"{member.worker.phase}, {where_name(where(member))}"


def waits_since(waited_s: float) -> str:
    return f"in it for {duration(waited_s)}"


def child_state(name: str, state: str) -> str:
    return f"its child {name}, state {state}"


def group_state(state: str) -> str:
    return f"it is {state}"


def meeting_evidence(collective: Collective | None) -> str:
    source = "stack" if collective is None else "flight recorder"
    return f"{source}, {meeting_name(collective)}"


def stack_evidence(member: RankContext) -> str:
    return f"stack, {where_name(where(member))}"


def process_evidence(field: str, pid: int) -> str:
    """Return which field the kernel has of which process: `stack of pid 7`."""
    return f"{field} of {process_name(pid)}"


def whereabouts(member: RankContext) -> str:
    seconds = quiet_s(member)
    last = f", its last collective was {duration(seconds)} ago" if seconds is not None else ""
    return f"{member.worker.state}, {member.worker.phase}, in {where_name(where(member))}{last}"
