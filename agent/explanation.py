"""The document of `why`: why a run is in its state."""

from __future__ import annotations

from typing import Final, Literal

from dsray_inspect.agent.model import (
    Collective,
    Finding,
    Function,
    Phase,
    Record,
    Snapshot,
    Verdict,
    WaitGraph,
)

SCHEMA_VERSION: Final = 1


class RankSummary(Record, frozen=True, kw_only=True):
    """A rank in the explanation: where it runs and what it is in."""

    rank: int | None
    hostname: str
    gpus: tuple[int, ...]
    pid: int
    function: Function | None
    phase: Phase
    step: int | None
    idle_s: float | None
    collective: Collective | None
    """The collective it waits in, None when it is in none."""


class Explanation(Record, frozen=True, kw_only=True):
    """The document of `why --json`."""

    verdict: Verdict
    culprits: tuple[RankSummary, ...]
    victims: tuple[RankSummary, ...]
    graph: WaitGraph
    """Everything that waits, and what it waits for."""
    lasts_s: float | None
    """For how long the victims have waited."""
    gives_up_in_s: float | None
    """When the first of their process groups gives up."""
    sure: Literal["yes", "no", "not asked"]
    sure_because: str
    step_s: float | None
    """Seconds a step, from both samples; None when no rank made a step."""
    findings: tuple[Finding, ...]
    next_step: str
    snapshot: Snapshot
    schema_version: Literal[1] = SCHEMA_VERSION
