"""A run that Ray Train starts again and again, and that fails of the same each time."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.train_log import FailedAttempt, Failure, failed_attempts
from dsray_inspect.agent.detectors.detection import Detection, Facts, Place
from dsray_inspect.agent.detectors.evidence.tracebacks import SECONDARY, user_place
from dsray_inspect.agent.detectors.registry import detector

LEAST_FAILURES = 3
"""Two failures alike may be an accident that happened twice."""
OUTLIVED = 3.0
"""An attempt that has lived so many times longer than those before it has left the loop."""
LEAST_LIFE_S = 20.0
"""The start of an attempt counts as a part of its life, and takes as long."""
LONGEST_ERROR = 160


class RestartLoop(Facts, frozen=True, kw_only=True):
    """Attempts in a row that failed alike."""

    submission_id: str | None
    attempt: int
    """The number of the present attempt, as far as the log reaches back."""
    failed: int
    longest_life_s: float | None
    """How long the longest of them lived; None where none has started."""
    lasts_s: float
    """Since the first of them failed."""
    source: str
    place: Place | None
    error: str
    failed_ranks: tuple[int, ...]


@detector(causes=("restart_loop",), after=("worker_dead",))
def restart_loop(sample: AnalysisInput) -> list[Detection]:
    """The newest attempts failed alike, and the present one has not outlived them."""
    attempts = failed_attempts(sample.observation)
    alike = _alike(attempts)

    if len(alike) < LEAST_FAILURES or sample.snapshot.job.has_ended:
        return []

    lives = [
        attempt.failed_at - attempt.started_at
        for attempt in alike
        if attempt.started_at is not None
    ]
    since_s = sample.snapshot.taken_at - alike[-1].failed_at

    if not alike[-1].is_retried or since_s > OUTLIVED * max((*lives, LEAST_LIFE_S)):
        return []

    first = _first_of(alike[-1])
    ranks = _common_ranks(alike)
    return [
        Detection(
            cause="restart_loop",
            severity="error",
            ranks=ranks,
            facts=RestartLoop(
                submission_id=sample.snapshot.job.submission_id,
                attempt=len(attempts) + 1,
                failed=len(alike),
                longest_life_s=max(lives, default=None),
                lasts_s=sample.snapshot.taken_at - alike[0].failed_at,
                source=alike[-1].source,
                place=user_place(first.text),
                error=first.last_line[:LONGEST_ERROR],
                failed_ranks=first.ranks,
            ),
        )
    ]


def _alike(attempts: Sequence[FailedAttempt]) -> list[FailedAttempt]:
    """Return the newest attempts that failed of one error, oldest first."""
    found: list[FailedAttempt] = []

    for attempt in reversed(attempts):
        if found and _kind(attempt) != _kind(found[-1]):
            break

        found.append(attempt)

    return found[::-1]


def _kind(attempt: FailedAttempt) -> tuple[str, Place | None]:
    """Return the class of an attempt's first error, and its place; figures in it may differ."""
    first = _first_of(attempt)
    return first.last_line.partition(":")[0], user_place(first.text)


def _first_of(attempt: FailedAttempt) -> Failure:
    """Return the failure that no other rank caused, else any."""
    own = (failure for failure in attempt.failures if not SECONDARY.search(failure.last_line))
    return next(own, attempt.failures[0])


def _common_ranks(attempts: Sequence[FailedAttempt]) -> tuple[int, ...]:
    """Return the ranks that failed first in each of these attempts."""
    ranks = [set(_first_of(attempt).ranks) for attempt in attempts]
    return tuple(sorted(set.intersection(*ranks)))
