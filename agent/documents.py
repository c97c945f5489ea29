"""What the commands print, apart from `model.Snapshot`: the documents of `--json`, and views.

A *document* is what `--json` prints; its keys are a contract. A *view* is what a command hands to
its renderer: what was read, and what the user wants to see of it. `formats` renders both.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from dsray_inspect.agent.environment import Difference, differences
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.feed import Event
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import (
    OK,
    EnvVar,
    Finding,
    Job,
    Log,
    Record,
    Run,
    Snapshot,
    StackGroup,
    Verdict,
)
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.agent.tracing.summarize import summarize
from dsray_inspect.agent.tracing.summary import Summary

SCHEMA_VERSION = 1


class RunRow(Record, frozen=True, kw_only=True):
    """One line of `ls`."""

    submission_id: str | None
    job_id: str
    run_id: str | None
    run_name: str | None
    number: int | None = None
    """Its place among the runs of its job, oldest first; None where it is the only one."""
    state: str
    ranks: int
    nodes: int
    entrypoint: str


class RunList(Record, frozen=True, kw_only=True):
    """The document of `ls`."""

    schema_version: int = SCHEMA_VERSION
    runs: tuple[RunRow, ...]


class RankEnv(Record, frozen=True, kw_only=True):
    """One rank's variables; `evidence` is "ok", or why there are none."""

    rank: int | None
    hostname: str
    pid: int
    env: dict[str, EnvVar]
    evidence: str


class EnvDocument(Record, frozen=True, kw_only=True):
    """The document of `env`."""

    schema_version: int = SCHEMA_VERSION
    taken_at: float
    job: Job
    run: Run | None
    drift: tuple[Difference, ...]
    expected: tuple[Difference, ...]
    ranks: tuple[RankEnv, ...]


class UnreadRank(Record, frozen=True, kw_only=True):
    """A rank whose stack could not be read, and why."""

    rank: int | None
    pid: int
    node_ip: str
    why: str


class StacksDocument(Record, frozen=True, kw_only=True):
    """The document of `stacks`; the keys of `pause_ms` and `logs` are ranks."""

    schema_version: int = SCHEMA_VERSION
    taken_at: float
    took_s: float
    job: Job
    run: Run | None
    groups: tuple[StackGroup, ...]
    unseen: tuple[UnreadRank, ...]
    pause_ms: dict[str, float]
    notes: tuple[str, ...]
    logs: dict[str, Log]
    """Logs of the ranks asked for with `--log`."""


class TraceDocument(Record, frozen=True, kw_only=True):
    """The document of `trace`; the timeline is left out if it is written to a file."""

    schema_version: int = SCHEMA_VERSION
    past: bool
    summary: Summary
    file: str | None
    timeline: Timeline | None
    dropped: int
    notes: tuple[str, ...]


class VerdictChange(Record, frozen=True, kw_only=True):
    """The document of `serve`, one per change of the verdict."""

    at: float
    job: str
    run: Run | None
    verdict: Verdict
    findings: tuple[Finding, ...]
    schema_version: int = SCHEMA_VERSION


class DashboardsDocument(Record, frozen=True, kw_only=True):
    """The document of `dashboards`; paths are relative to `folder`."""

    schema_version: int = SCHEMA_VERSION
    folder: str
    files: tuple[str, ...]
    changed: tuple[str, ...]


class RecordDocument(Record, frozen=True, kw_only=True):
    """The document of `record`; the file's own manifest says more."""

    schema_version: int = SCHEMA_VERSION
    file: str
    bytes: int
    public: bool
    job: str
    ranks: int
    samples: int
    seconds: float
    """From the first sample to the last."""
    verdict: Verdict
    left_out: tuple[str, ...]
    """What is not in the file, and why."""
    redacted: tuple[str, ...]
    """The names whose values were hidden because they are secret."""
    replaced: tuple[str, ...]
    """How many names of each kind have a pseudonym; none without `--public`."""
    ended_early: str | None
    """Why there are fewer samples than were asked for."""


class SnapshotView(Record, frozen=True, kw_only=True):
    """A sample, and what the ranks did before it."""

    snapshot: Snapshot
    history: History | None = None


class EventView(Record, frozen=True, kw_only=True):
    """One event of a feed, as `attach --follow` prints them."""

    event: Event


class ExplanationView(Record, frozen=True, kw_only=True):
    explanation: Explanation
    with_graph: bool = False


class StacksView(Record, frozen=True, kw_only=True):
    snapshot: Snapshot
    full: bool = False
    all_threads: bool = False

    def document(self) -> StacksDocument:
        workers = self.snapshot.workers
        return StacksDocument(
            taken_at=self.snapshot.taken_at,
            took_s=self.snapshot.took_s,
            job=self.snapshot.job,
            run=self.snapshot.run,
            groups=self.snapshot.stacks.groups,
            unseen=tuple(
                UnreadRank(
                    rank=worker.rank,
                    pid=worker.pid,
                    node_ip=worker.node_ip,
                    why=worker.evidence.stack,
                )
                for worker in workers
                if worker.evidence.stack != OK
            ),
            pause_ms={str(worker.rank): worker.pause_ms for worker in workers},
            notes=self.snapshot.notes,
            logs={str(worker.rank): worker.log for worker in workers if worker.log is not None},
        )


class EnvView(Record, frozen=True, kw_only=True):
    snapshot: Snapshot
    show_all: bool = False

    def document(self) -> EnvDocument:
        workers = self.snapshot.workers
        found = differences({w.rank: w.env for w in workers if w.rank is not None})
        return EnvDocument(
            taken_at=self.snapshot.taken_at,
            job=self.snapshot.job,
            run=self.snapshot.run,
            drift=found.drift,
            expected=found.expected,
            ranks=tuple(
                RankEnv(
                    rank=worker.rank,
                    hostname=worker.hostname,
                    pid=worker.pid,
                    env=worker.env,
                    evidence=worker.evidence.env,
                )
                for worker in workers
            ),
        )


class TraceView(Record, frozen=True, kw_only=True):
    """A timeline that ends about `now_ns`; `file` is where it is written as well."""

    timeline: Timeline
    past: bool
    now_ns: int
    file: Path | None = None

    def summary(self) -> Summary:
        """Return the sums of the timeline without the run's start-up, which `attach` shows."""
        spans = tuple(span for span in self.timeline.spans if span.kind != "startup")
        return summarize(msgspec.structs.replace(self.timeline, spans=spans))

    def document(self) -> TraceDocument:
        return TraceDocument(
            past=self.past,
            summary=self.summary(),
            file=str(self.file) if self.file else None,
            timeline=None if self.file else self.timeline,
            dropped=self.timeline.dropped,
            notes=self.timeline.notes,
        )


class VerdictChangeView(Record, frozen=True, kw_only=True):
    snapshot: Snapshot

    def document(self) -> VerdictChange:
        return VerdictChange(
            at=self.snapshot.taken_at,
            job=self.snapshot.job.label,
            run=self.snapshot.run,
            verdict=self.snapshot.verdict,
            findings=self.snapshot.findings,
        )


class DashboardsView(Record, frozen=True, kw_only=True):
    """The files that were written; `folder` is as the user named it, `root` is absolute."""

    folder: Path
    root: Path
    files: tuple[str, ...]
    changed: tuple[str, ...]

    def document(self) -> DashboardsDocument:
        return DashboardsDocument(folder=str(self.root), files=self.files, changed=self.changed)
