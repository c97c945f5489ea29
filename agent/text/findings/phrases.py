"""Phrases that the sentences of several causes share."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Place, Where
from dsray_inspect.agent.detectors.evidence.activity import STILL_BYTES, Activity
from dsray_inspect.agent.detectors.evidence.object_producers import Producer
from dsray_inspect.agent.detectors.evidence.stall_attribution import (
    Barrier,
    Victims,
    stall_spec,
)
from dsray_inspect.agent.model import Cause, Collective
from dsray_inspect.agent.text.humanize import collective_name, duration, name_ranks

SHOWN_QUEUE = 0.1
"""A thread that queued for a CPU for a smaller share of the time is not said to."""
BARRIERS: dict[Barrier, str] = {
    "collective": "a collective",
    "report": "ray.train.report",
    "init_process_group": "init_process_group",
}


def where_name(where: Where) -> str:
    """Return "load_batch (train.py:25)", or the phase."""
    return f"{where.name} ({where.file}:{where.line})" if isinstance(where, Place) else where


def barrier_name(waiting_in: Collective | Barrier) -> str:
    if isinstance(waiting_in, Collective):
        return collective_name(waiting_in)

    return BARRIERS[waiting_in]


def blocked_place(cause: Cause, where: Where) -> str:
    """Return "ray.get, called by teach (train.py:25)"."""
    return f"{stall_spec(cause).activity} {where_name(where)}".lstrip()


def victims_lines(victims: Victims) -> tuple[str, str | None]:
    """Return what the victims wait in, and when their group gives up."""
    waiting_in = barrier_name(victims.collective or victims.waiting_in)
    waited = duration(victims.waited_s)
    left = f"the group gives up in {duration(victims.gives_up_s)}" if victims.gives_up_s else None
    return f"{name_ranks(victims.ranks)}: in {waiting_in}, for up to {waited}", left


def activity_text(activity: Activity) -> str:
    """Return what a process did between two samples."""
    parts = [f"{100 * (activity.process_share or 0):.0f} % of a core"]

    if activity.thread_share is not None:
        parts = [
            f"{100 * activity.thread_share:.0f} % of a core in its training thread",
            f"{100 * (activity.process_share or 0):.0f} % in all of it",
        ]

    if activity.queue_share >= SHOWN_QUEUE:
        parts.append(f"queueing for a CPU for {100 * activity.queue_share:.0f} % of the time")

    if activity.children_share:
        parts.append(f"{100 * activity.children_share:.0f} % in its children")

    if activity.bytes_a_second >= STILL_BYTES:
        parts.append(f"{activity.bytes_a_second / 1e6:.0f} MB/s read and written")

    return f"{', '.join(parts)}, in {activity.apart_s:.1f} s"


def producer_name(producer: Producer) -> str:
    return f"actor {producer.class_name}, pid {producer.pid}"
