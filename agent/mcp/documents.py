"""The answers of the tools, one document each; `notes` has what they are made of."""

from __future__ import annotations

from typing import Literal

from dsray_inspect.agent.mcp.notes import (
    EnvNote,
    ErrorText,
    FindingNote,
    IncidentNote,
    Item,
    LogNote,
    NextCall,
    NotInIt,
    Past,
    PathText,
    RankGroup,
    RankNote,
    RunNote,
    SampleHead,
    StackNote,
    Texts,
    UnreadNote,
    VerdictChangeNote,
    VerdictNote,
    WaitNote,
)
from dsray_inspect.agent.model import Record


class WhyAnswer(Record, frozen=True, kw_only=True, omit_defaults=True):
    notice: str
    sample: SampleHead
    verdict: VerdictNote
    means: str
    does_not_prove: tuple[str, ...]
    next: tuple[NextCall, ...] = ()
    culprits: tuple[RankNote, ...] = ()
    culprits_left_out: int = 0
    findings: tuple[FindingNote, ...] = ()
    findings_left_out: int = 0
    waiting: tuple[RankGroup, ...] = ()
    waiting_left_out: int = 0
    waits_s: float | None = None
    group_gives_up_in_s: float | None = None
    waits_for: tuple[WaitNote, ...] = ()
    waits_for_left_out: int = 0
    untrusted: Texts | None = None
    """Notes on how the sample went."""


class RanksAnswer(Record, frozen=True, kw_only=True, omit_defaults=True):
    notice: str
    sample: SampleHead
    verdict: VerdictNote
    does_not_prove: tuple[str, ...]
    groups: tuple[RankGroup, ...] = ()
    groups_left_out: int = 0
    ranks: tuple[RankNote, ...] = ()
    """The ones to look at first."""
    ranks_left_out: int = 0


class StacksAnswer(Record, frozen=True, kw_only=True, omit_defaults=True):
    notice: str
    sample: SampleHead
    does_not_prove: tuple[str, ...]
    stacks: tuple[StackNote, ...] = ()
    stacks_left_out: int = 0
    logs: tuple[LogNote, ...] = ()
    logs_left_out: int = 0
    unread: tuple[UnreadNote, ...] = ()
    unread_left_out: int = 0
    longest_pause_ms: float | None = None


class EnvDiffAnswer(Record, frozen=True, kw_only=True, omit_defaults=True):
    notice: str
    sample: SampleHead
    does_not_prove: tuple[str, ...]
    ranks_read: int
    drift: tuple[EnvNote, ...] = ()
    """Differs and should not."""
    drift_left_out: int = 0
    expected: tuple[EnvNote, ...] = ()
    """Differs as it should, such as RANK."""
    expected_left_out: int = 0
    equal: tuple[EnvNote, ...] = ()
    equal_left_out: int = 0
    unread: tuple[UnreadNote, ...] = ()
    unread_left_out: int = 0


class HistoryAnswer(Record, frozen=True, kw_only=True, omit_defaults=True):
    notice: str
    sample: SampleHead
    missing: tuple[str, ...]
    before: Past | None = None
    samples: int = 0
    verdicts: tuple[VerdictChangeNote, ...] = ()
    """Each verdict when it was first given, the newest first."""
    verdicts_left_out: int = 0
    untrusted: Texts | None = None
    """Why `before` is missing."""


class JobsAnswer(Record, frozen=True, kw_only=True, omit_defaults=True):
    notice: str
    cluster: Literal["answers", "unreachable"]
    runs: tuple[RunNote, ...] = ()
    runs_left_out: int = 0
    incidents: tuple[IncidentNote, ...] = ()
    incidents_left_out: int = 0
    untrusted: Texts | None = None
    """Why the cluster could not be reached."""


class OpenAnswer(Record, frozen=True, kw_only=True, omit_defaults=True):
    notice: str
    handle: str
    sample: SampleHead
    verdict: VerdictNote
    samples: int
    seconds: float
    """From the first sample to the last."""
    public: bool = False
    """Whether names in it were replaced."""
    damaged: bool = False
    """Whether its end is missing or damaged."""
    does_not_prove: tuple[str, ...] = ()
    not_in_it: tuple[NotInIt, ...] = ()
    not_in_it_left_out: int = 0
    untrusted: PathText


class EvidenceAnswer(Record, frozen=True, kw_only=True, omit_defaults=True):
    notice: str
    id: str
    sample: SampleHead
    items: tuple[Item, ...] = ()
    items_left_out: int = 0
    next_skip: int = 0
    """What to give as `skip` to read on; 0 at the end."""


class ErrorAnswer(Record, frozen=True, kw_only=True):
    notice: str
    error: str
    """A code."""
    untrusted: ErrorText
