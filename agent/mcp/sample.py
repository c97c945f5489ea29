"""A sample as the tools answer of it: judged, with an id by which to come back to it."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.mcp.job_text import NAME, SENTENCE, VALUE, clean
from dsray_inspect.agent.mcp.notes import RunText, SampleHead, SourceName, VerdictNote, VerdictText
from dsray_inspect.agent.model import OK, Log, Record, Snapshot, Verdict
from dsray_inspect.agent.text.humanize import compact
from dsray_inspect.agent.text.proof import not_proven

_MOST_RANGES: Final = 12


class Sample(Record, frozen=True, kw_only=True):
    """The newest of the samples that one verdict rests on, and that verdict."""

    id: str
    source: SourceName
    incident: str = ""
    """The handle of its file."""
    explanation: Explanation
    logs: dict[str, Log] = msgspec.field(default_factory=dict)
    """By actor id, where they are known without asking."""

    @property
    def snapshot(self) -> Snapshot:
        return self.explanation.snapshot

    @property
    def is_from_file(self) -> bool:
        return self.source == "incident"

    def id_of(self, kind: str, number: int) -> str:
        """Return the id of a part of it; `evidence` takes it apart again."""
        return f"{self.id}:{kind}{number}"


def head_of(sample: Sample, now: float) -> SampleHead:
    """Return what each answer says of its sample."""
    snapshot = sample.snapshot
    run, job = snapshot.run, snapshot.job
    return SampleHead(
        id=sample.id,
        source=sample.source,
        incident=sample.incident,
        taken_at=utc(snapshot.taken_at),
        age_s=None if sample.is_from_file else seconds(max(0.0, now - snapshot.taken_at)),
        ranks=len(snapshot.workers),
        nodes=len(snapshot.nodes),
        unread=sum(worker.evidence.stack != OK for worker in snapshot.workers),
        job_has_ended=job.has_ended,
        untrusted=RunText(
            job=clean(job.label, NAME),
            run=clean(run.name or run.id or "", NAME) if run is not None else "",
            state=clean(run.state if run is not None else job.state, NAME),
            entrypoint=clean(job.entrypoint, VALUE),
        ),
    )


def verdict_note(verdict: Verdict, explanation: Explanation | None = None) -> VerdictNote:
    """Return a verdict; with its explanation, also how sure it is."""
    because = clean(explanation.sure_because, SENTENCE) if explanation is not None else ""
    return VerdictNote(
        state=verdict.state,
        cause=verdict.cause,
        ranks=rank_ranges(verdict.ranks),
        sure=explanation.sure if explanation is not None else None,
        untrusted=VerdictText(summary=clean(verdict.summary, SENTENCE), because=because),
    )


def sample_verdict(sample: Sample) -> VerdictNote:
    return verdict_note(sample.explanation.verdict, sample.explanation)


def limits_of(sample: Sample) -> tuple[str, ...]:
    """Return what the verdict of a sample does not prove."""
    return not_proven(sample.explanation, is_from_file=sample.is_from_file)


def rank_ranges(ranks: tuple[int, ...]) -> str:
    """Return "0-3, 7", cut where there are many ranges."""
    parts = compact(sorted(ranks)).split(", ")
    more = f", … ({len(ranks)} ranks)" if len(parts) > _MOST_RANGES else ""
    return ", ".join(parts[:_MOST_RANGES]) + more


def utc(at: float) -> str:
    """Return a time as 2026-11-24T09:31:07Z."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    except (OverflowError, ValueError, OSError):  # a file may have any number there
        return "unknown"


def seconds(value: float) -> float:
    return round(value, 1)


def maybe_seconds(value: float | None) -> float | None:
    return None if value is None else seconds(value)
