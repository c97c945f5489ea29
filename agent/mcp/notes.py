"""The parts of answers. What the job has written is only ever below a key `untrusted`.

All other values are numbers, words of this project's own vocabulary, ids, and sentences without
any name in them. Fields with their default are left out.
"""

from __future__ import annotations

from typing import Literal

from dsray_inspect.agent.model import (
    Cause,
    EnvSource,
    Phase,
    Record,
    Role,
    Severity,
    VerdictState,
    WorkerState,
)

SourceName = Literal["live", "incident"]
Sure = Literal["yes", "no", "not asked"]


class RunText(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How a job and its run are called."""

    job: str = ""
    run: str = ""
    state: str = ""
    entrypoint: str = ""


class SampleHead(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The sample that an answer is about."""

    id: str
    source: SourceName
    incident: str = ""
    """The file's handle."""
    taken_at: str
    """UTC."""
    age_s: float | None = None
    """Of a live sample; it is taken anew only after the server's minimum interval."""
    ranks: int
    nodes: int
    unread: int = 0
    """How many ranks gave no stack."""
    job_has_ended: bool = False
    untrusted: RunText


class VerdictText(Record, frozen=True, kw_only=True, omit_defaults=True):
    summary: str
    because: str = ""
    """What being sure or not rests on."""


class VerdictNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A verdict; `ranks` are to blame, the others wait for them."""

    state: VerdictState
    cause: Cause | None = None
    ranks: str = ""
    sure: Sure | None = None
    untrusted: VerdictText


class RankText(Record, frozen=True, kw_only=True, omit_defaults=True):
    host: str = ""
    at: str = ""
    """The function of the user's code that it is in, with file and line."""
    waits_in: str = ""
    """The collective that it has entered and not left."""
    unread: str = ""
    """Why its stack could not be read."""


class RankNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    rank: int | None
    blamed: bool = False
    state: WorkerState = "alive"
    phase: Phase
    step: int | None = None
    pid: int
    gpus: tuple[int, ...] = ()
    idle_s: float | None = None
    """Since its training thread last ran."""
    waits_s: float | None = None
    """Since it entered the collective."""
    untrusted: RankText


class RankGroup(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Ranks that do the same."""

    ranks: str
    count: int
    blamed: bool = False
    state: WorkerState = "alive"
    phase: Phase
    steps: str = ""
    """Their step, or the lowest and the highest."""
    longest_wait_s: float | None = None
    untrusted: RankText


class FindingText(Record, frozen=True, kw_only=True, omit_defaults=True):
    summary: str
    evidence: tuple[str, ...] = ()
    command: str = ""
    """What a person would type next."""


class FindingNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    cause: Cause
    severity: Severity
    ranks: str = ""
    means: str
    more_evidence: int = 0
    untrusted: FindingText


class NextCall(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A call that shows more."""

    tool: str
    id: str = ""
    sample: str = ""
    ranks: tuple[int, ...] = ()


class WaitText(Record, frozen=True, kw_only=True):
    waiter: str
    awaited: str
    because: str


class WaitNote(Record, frozen=True, kw_only=True):
    id: str
    untrusted: WaitText


class Texts(Record, frozen=True, kw_only=True):
    texts: tuple[str, ...]


class StackText(Record, frozen=True, kw_only=True, omit_defaults=True):
    thread: str = ""
    frames: tuple[str, ...] = ()
    """Innermost first: function, file:line, [layer]; a line that begins with | is a local."""


class StackNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    role: Role
    ranks: str = ""
    count: int = 0
    blamed: bool = False
    idle_s: float | None = None
    untrusted: StackText


class LogText(Record, frozen=True, kw_only=True, omit_defaults=True):
    path: str = ""
    lines: tuple[str, ...] = ()
    missing: str = ""


class LogNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    rank: int | None
    stream: Literal["stdout", "stderr", "train"] | None = None
    written_ago_s: float | None = None
    lines_left_out: int = 0
    """Older lines for which there was no room."""
    untrusted: LogText


class UnreadNote(Record, frozen=True, kw_only=True):
    ranks: str
    untrusted: Texts


class ValueText(Record, frozen=True, kw_only=True):
    value: str | None
    """None where it is not set."""


class ValueNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    ranks: str
    source: EnvSource | None = None
    untrusted: ValueText


class NameText(Record, frozen=True, kw_only=True):
    name: str


class EnvNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    id: str = ""
    values: tuple[ValueNote, ...] = ()
    values_left_out: int = 0
    untrusted: NameText


class LateRank(Record, frozen=True, kw_only=True):
    rank: int
    waited_for_s: float


class Past(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What the ranks did before the sample, by their flight recorders."""

    seconds: float
    ranks: int
    steps: int = 0
    step_s: float | None = None
    last_step_ended_ago_s: float | None = None
    late: tuple[LateRank, ...] = ()
    """The ranks that the others waited for, the latest first."""


class VerdictChangeNote(Record, frozen=True, kw_only=True):
    sample: str
    """Its id; "" where that sample is no longer kept."""
    at: str
    verdict: VerdictNote


class RunNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    ranks: int
    nodes: int
    untrusted: RunText


class IncidentNote(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A file that may be opened; `path` is what open_incident takes."""

    bytes: int
    written_at: str
    handle: str = ""
    untrusted: PathText


class PathText(Record, frozen=True, kw_only=True):
    path: str


class NotInIt(Record, frozen=True, kw_only=True):
    """Something that its writer left out, and why."""

    untrusted: Texts


class Item(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of evidence; `what` says what it is."""

    what: str
    ranks: str = ""
    number: float | None = None
    untrusted: Texts | None = None


class ErrorText(Record, frozen=True, kw_only=True, omit_defaults=True):
    what: str
    next: str = ""
