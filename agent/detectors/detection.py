"""What a detector returns: a cause, the ranks to blame, and the facts its sentences are made of."""

from __future__ import annotations

from collections.abc import Iterable

from dsray_inspect.agent.model import (
    Cause,
    Frame,
    Function,
    Phase,
    Record,
    Severity,
    Worker,
)

STALLED_S = 30.0
"""A training thread that has not run for this long is taken to be stuck, not slow."""


class Facts(Record, frozen=True, kw_only=True):
    """Base of the facts of detections; `text/findings` has one sentence template per subclass."""


class Detection(Record, frozen=True, kw_only=True):
    """One cause with its culprits (not the ranks that wait for them)."""

    cause: Cause
    severity: Severity
    ranks: tuple[int, ...]
    facts: Facts


class Place(Record, frozen=True, kw_only=True):
    """A line of code, its file without the folder."""

    name: str
    file: str
    line: int


Where = Place | Phase
"""Where a rank is: the user's line, or its phase where that is not known."""


def place_of(at: Function | Frame) -> Place:
    return Place(name=at.name, file=at.file.rpartition("/")[2], line=at.line)


def rank_numbers(workers: Iterable[Worker]) -> tuple[int, ...]:
    """Return the known ranks of these workers, in order."""
    return tuple(sorted(worker.rank for worker in workers if worker.rank is not None))
