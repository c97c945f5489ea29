"""How many samples `why` takes before it answers, and when the next one is due."""

from __future__ import annotations

import itertools
import time
from typing import Final

from dsray_inspect.agent.detectors.evidence.collective_waits import stall_s
from dsray_inspect.agent.detectors.evidence.gil import HELD_S
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.feed import SampleStream
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest

_APART_S: Final = 0.6
_DEEPSPEED: Final = "deepspeed"
_WATCH_S: Final = 1.0
"""Longest rest between two samples of a watch; a sample itself takes about as long."""
_MIN_REST_S: Final = 0.3
"""Rest between two samples when a wait is about to become a stall: activity needs that long."""
_READ_S: Final = 0.1
"""A rank reads its flight recorder at most this long after the sample has begun."""
_UNSETTLED_S: Final = 6.5
"""How long a first call keeps sampling what may soon become a stall."""
_UNSETTLED_SAMPLES: Final = 4
"""It takes as many where samples are slow: what shows by chance wants more than one try."""
_JOB_MANAGER_LAG_S: Final = 10.0
"""Ray's job manager notices the end of a driver some seconds after the GCS."""
_SUSPECT_S: Final = 1.5
"""A wait of this length is worth another sample."""


def settle(session: SampleStream, candidate: Candidate, request: SampleRequest) -> Explanation:
    """Take two samples, and more while what they show is too recent to be judged."""
    samples: tuple[Snapshot, ...] = (sample(session, candidate, request),)

    if samples[0].job.has_ended:
        return explain(samples)

    until = time.monotonic() + _UNSETTLED_S

    for number in itertools.count(2):
        time.sleep(_APART_S)
        candidate = session.refreshed(candidate)
        samples = (samples[-1], sample(session, candidate, request))
        is_enough = number >= _UNSETTLED_SAMPLES and time.monotonic() > until

        if is_enough or not (_is_unsettled(samples[-1]) or _is_new(*samples)):
            break

    return explain(samples)


def sample(session: SampleStream, candidate: Candidate, request: SampleRequest) -> Snapshot:
    """Take one sample; if a submitted job has just ended, wait until Ray says how."""
    until = time.monotonic() + _JOB_MANAGER_LAG_S

    while True:
        snapshot = session.snapshot(candidate, request)
        is_outcome_open = (
            snapshot.job.state == "FINISHED" and snapshot.job.submission_id is not None
        )

        if (
            not is_outcome_open
            or time.monotonic() > until
            or _ended_long_ago(candidate.job.ended_at)
        ):
            return snapshot

        time.sleep(_APART_S)
        candidate = session.refreshed(candidate)


def _ended_long_ago(ended_at: float | None) -> bool:
    return ended_at is not None and time.time() - ended_at > _JOB_MANAGER_LAG_S


def _is_new(before: Snapshot, now: Snapshot) -> bool:
    """Return whether the newest sample found what the one before had not: take one more."""
    return bool(now.findings) and before.verdict.cause != now.verdict.cause


def _is_unsettled(snapshot: Snapshot) -> bool:
    """Return whether another sample in a moment may show more."""
    if snapshot.verdict.cause == "config_drift" and not snapshot.verdict.ranks:
        return True  # The odd rank out is known once another engine's config has been read.

    return (
        not snapshot.findings
        and snapshot.job.state == "RUNNING"
        and (
            is_suspicious(snapshot)
            or _is_unmeasured(snapshot)
            or _is_engine_unseen(snapshot)
            or _is_input_unread(snapshot)
        )
    )


def _is_input_unread(snapshot: Snapshot) -> bool:
    """Return whether ranks wait for input, and what brings it may not have been seen twice yet."""
    return snapshot.verdict.state == "unknown" and any(
        worker.phase == "data" for worker in snapshot.workers
    )


def _is_engine_unseen(snapshot: Snapshot) -> bool:
    """Return whether a rank that trains has DeepSpeed, and no engine has been seen at work.

    An engine is found while one of its methods runs; without it, the loss is not known.
    """
    return any(
        worker.state == "alive" and worker.deepspeed is None and _DEEPSPEED in worker.versions
        for worker in snapshot.workers
    )


def _is_unmeasured(snapshot: Snapshot) -> bool:
    """Return whether only a step that ends while samples are taken can show that ranks advance."""
    return snapshot.verdict.state == "unknown" and any(
        worker.step and not worker.collectives for worker in snapshot.workers
    )


def rest_s(snapshot: Snapshot, now: float) -> float:
    """Return how long a watch rests after a sample.

    The next sample is timed for the moment at which a wait becomes a stall, or at which a rank
    has been silent for so long that it must be holding its GIL.
    """
    left_s = (
        snapshot.taken_at + limit_s - waiting.age_s - now
        for worker in snapshot.workers
        if (waiting := worker.waiting_in) is not None
        for limit_s in (stall_s(worker.longest_gap_s), HELD_S)
    )
    soonest_s = min((s + _READ_S for s in left_s if s > -_WATCH_S), default=_WATCH_S)
    return min(max(soonest_s, _MIN_REST_S), _WATCH_S)


def is_suspicious(snapshot: Snapshot) -> bool:
    """Return whether ranks have been waiting for one another for longer than they usually do."""
    if snapshot.verdict.state not in ("healthy", "unknown", "starting", "finished"):
        return True

    return any(
        (waiting := worker.waiting_in) is not None
        and waiting.age_s > max(_SUSPECT_S, 3 * (worker.longest_gap_s or 0.0))
        for worker in snapshot.workers
    )
