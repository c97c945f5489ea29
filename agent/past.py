"""What the ranks did before the first sample, where reading it is allowed."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.errors import InspectError
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.history import MAX_RANKS, History
from dsray_inspect.agent.model import OK, Snapshot
from dsray_inspect.agent.sampling.observation import NO_INJECT, SampleRequest
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.tracing.capture import TraceCapture
from dsray_inspect.agent.unavailable import Unavailable

_STANDS_S: Final = 1.0
"""A rank whose training thread has not run for so long does not notice a pause."""


def past_of(
    session: Session, candidate: Candidate, snapshot: Snapshot, request: SampleRequest
) -> History | None:
    """Return what the ranks did until now, or None if reading it would pause a running rank."""
    is_standing = all(
        worker.evidence.collectives == OK and (worker.idle_s or 0.0) >= _STANDS_S
        for worker in snapshot.workers
    )

    if not snapshot.workers or not is_standing:
        return None

    try:
        return session.history(candidate, snapshot, request)
    except InspectError:
        return None


def recorders_of(
    session: Session, candidate: Candidate, snapshot: Snapshot, request: SampleRequest
) -> TraceCapture | Unavailable:
    """Return what the flight recorders of all ranks hold, those of running ranks too.

    A rank is not paused for longer than by a sample that reads its recorder.
    """
    if not request.inject:
        return NO_INJECT

    if len(snapshot.workers) > MAX_RANKS:
        detail = f"the recorders of more than {MAX_RANKS} ranks are too large"
        return Unavailable(reason="disabled", detail=detail)

    try:
        return session.past(candidate, snapshot, request)
    except InspectError as error:
        return Unavailable(reason="failed", detail=str(error).rstrip("."))
