"""What is wrong with a job, and with which ranks."""

from __future__ import annotations

from dsray_inspect.agent.model.record import Record
from dsray_inspect.agent.model.vocabulary import Cause, Severity, VerdictState


class Finding(Record, frozen=True, kw_only=True):
    """One cause with its culprits (not their victims) and what it rests on."""

    cause: Cause
    severity: Severity
    ranks: tuple[int, ...]
    summary: str
    evidence: tuple[str, ...]
    next_step: str


class Verdict(Record, frozen=True, kw_only=True):
    state: VerdictState
    cause: Cause | None
    ranks: tuple[int, ...]
    summary: str

    def differs_from(self, other: Verdict) -> bool:
        """Return whether it says something else, not just the same in other words."""
        return (self.state, self.cause, self.ranks) != (other.state, other.cause, other.ranks)
