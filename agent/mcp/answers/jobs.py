"""`list_jobs` and `open_incident`: what can be asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from dsray_inspect.agent.documents import RunRow
from dsray_inspect.agent.incident.layout import LeftOut
from dsray_inspect.agent.mcp.documents import JobsAnswer, OpenAnswer
from dsray_inspect.agent.mcp.job_text import LINE, NAME, NOTICE, VALUE, clean
from dsray_inspect.agent.mcp.notes import IncidentNote, NotInIt, PathText, RunNote, RunText, Texts
from dsray_inspect.agent.mcp.room import Room
from dsray_inspect.agent.mcp.sample import Sample, head_of, limits_of, sample_verdict, seconds
from dsray_inspect.agent.model import Record

ClusterState = Literal["answers", "unreachable"]


class OpenedFile(Record, frozen=True, kw_only=True):
    """What `open_incident` found, beside the newest sample."""

    path: str
    handle: str
    samples: int
    span_s: float
    public: bool
    damaged: bool
    left_out: tuple[LeftOut, ...]


def jobs_answer(
    runs: Sequence[RunRow],
    incidents: Sequence[IncidentNote],
    tokens: int,
    *,
    cluster: ClusterState,
    problem: str = "",
) -> JobsAnswer:
    """Return the answer of `list_jobs`: running jobs first, then the newest files."""
    why = Texts(texts=(clean(problem, LINE),)) if problem else None
    answer = JobsAnswer(notice=NOTICE, cluster=cluster, untrusted=why)
    room = Room(tokens, answer)
    shown, more = room.take(map(_run_note, runs), share=0.6 if incidents else 1.0)
    files, more_files = room.take(incidents)
    return msgspec.structs.replace(
        answer,
        runs=shown,
        runs_left_out=more,
        incidents=files,
        incidents_left_out=more_files,
    )


def _run_note(row: RunRow) -> RunNote:
    name = row.submission_id or row.job_id
    return RunNote(
        ranks=row.ranks,
        nodes=row.nodes,
        untrusted=RunText(
            job=clean(name if row.number is None else f"{name}/{row.number}", NAME),
            run=clean(row.run_name or row.run_id or "", NAME),
            state=clean(row.state, NAME),
            entrypoint=clean(row.entrypoint, VALUE),
        ),
    )


def open_answer(sample: Sample, opened: OpenedFile, tokens: int, now: float) -> OpenAnswer:
    """Return the answer of `open_incident`."""
    answer = OpenAnswer(
        notice=NOTICE,
        handle=opened.handle,
        sample=head_of(sample, now),
        verdict=sample_verdict(sample),
        samples=opened.samples,
        seconds=seconds(opened.span_s),
        public=opened.public,
        damaged=opened.damaged,
        does_not_prove=limits_of(sample),
        untrusted=PathText(path=clean(opened.path, LINE)),
    )
    kept, more = Room(tokens, answer).take(map(_not_in_it, opened.left_out))
    return msgspec.structs.replace(answer, not_in_it=kept, not_in_it_left_out=more)


def _not_in_it(left_out: LeftOut) -> NotInIt:
    texts = (clean(left_out.what, LINE), clean(left_out.why, LINE))
    return NotInIt(untrusted=Texts(texts=texts))
