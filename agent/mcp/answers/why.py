"""`why`: the verdict, what it rests on, and what it does not prove."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from dsray_inspect.agent.causes import spec_of
from dsray_inspect.agent.mcp.answers.rank_notes import groups_of, rank_note
from dsray_inspect.agent.mcp.documents import WhyAnswer
from dsray_inspect.agent.mcp.job_text import LINE, NAME, NOTICE, SENTENCE, clean
from dsray_inspect.agent.mcp.notes import (
    FindingNote,
    FindingText,
    NextCall,
    Texts,
    WaitNote,
    WaitText,
)
from dsray_inspect.agent.mcp.room import Room
from dsray_inspect.agent.mcp.sample import (
    Sample,
    head_of,
    limits_of,
    maybe_seconds,
    rank_ranges,
    sample_verdict,
)
from dsray_inspect.agent.model import Finding, WaitEdge, WaitGraph
from dsray_inspect.agent.text.humanize import sentence

_MOST_EVIDENCE: Final = 4
_MOST_CULPRITS: Final = 6
_MOST_NOTES: Final = 3
_MOST_RANKS: Final = 4


def why_answer(sample: Sample, tokens: int, now: float) -> WhyAnswer:
    """Return the answer of `why`."""
    explanation, snapshot = sample.explanation, sample.snapshot
    notes = tuple(clean(note, LINE) for note in snapshot.notes[:_MOST_NOTES])
    answer = WhyAnswer(
        notice=NOTICE,
        sample=head_of(sample, now),
        verdict=sample_verdict(sample),
        means=meaning_of(sample),
        does_not_prove=limits_of(sample),
        next=_next_calls(sample),
        waits_s=maybe_seconds(explanation.lasts_s),
        group_gives_up_in_s=maybe_seconds(explanation.gives_up_in_s),
        untrusted=Texts(texts=notes) if notes else None,
    )
    room = Room(tokens, answer)
    blamed = [
        n for n, worker in enumerate(snapshot.workers) if worker.rank in explanation.verdict.ranks
    ]
    victims = {worker.rank for worker in explanation.victims}
    findings, more_findings = room.take(_findings(sample), most=6, share=0.5)
    culprits, more_culprits = room.take(
        (rank_note(sample, number) for number in blamed), most=_MOST_CULPRITS, share=0.6
    )
    waiting, more_waiting = room.take(
        groups_of(sample, [worker for worker in snapshot.workers if worker.rank in victims]),
        share=0.6,
    )
    waits_for, more_waits_for = room.take(
        (wait_note(sample, number) for number in _telling_edges(explanation.graph)), most=6
    )
    return msgspec.structs.replace(
        answer,
        findings=findings,
        findings_left_out=more_findings,
        culprits=culprits,
        culprits_left_out=more_culprits,
        waiting=waiting,
        waiting_left_out=more_waiting,
        waits_for=waits_for,
        waits_for_left_out=more_waits_for,
    )


def meaning_of(sample: Sample) -> str:
    """Return what the verdict's cause, or else its state, means."""
    verdict = sample.explanation.verdict

    if verdict.cause is None:
        return f"No cause was found: the run is {verdict.state}."

    return f"{sentence(spec_of(verdict.cause).meaning)}."


def finding_note(sample: Sample, number: int, *, most: int = _MOST_EVIDENCE) -> FindingNote:
    """Return one finding, by its place among those of the sample."""
    finding = sample.explanation.findings[number]
    return FindingNote(
        id=sample.id_of("f", number),
        cause=finding.cause,
        severity=finding.severity,
        ranks=rank_ranges(finding.ranks),
        means=spec_of(finding.cause).meaning,
        more_evidence=max(0, len(finding.evidence) - most),
        untrusted=FindingText(
            summary=clean(finding.summary, SENTENCE),
            evidence=tuple(clean(line, LINE) for line in finding.evidence[:most]),
            command=clean(finding.next_step, LINE),
        ),
    )


def wait_note(sample: Sample, number: int) -> WaitNote:
    """Return one edge of the wait-for graph."""
    edge: WaitEdge = sample.explanation.graph.edges[number]
    return WaitNote(
        id=sample.id_of("w", number),
        untrusted=WaitText(
            waiter=clean(edge.waiter, NAME),
            awaited=clean(edge.awaited, NAME),
            because=clean(edge.because, LINE),
        ),
    )


def _findings(sample: Sample) -> Iterator[FindingNote]:
    """Yield the verdict's own finding first, then errors, then the rest."""

    def order(numbered: tuple[int, Finding]) -> tuple[bool, bool]:
        return (numbered[1].cause != sample.explanation.verdict.cause, _is_mild(numbered[1]))

    for number, _ in sorted(enumerate(sample.explanation.findings), key=order):
        yield finding_note(sample, number)


def _telling_edges(graph: WaitGraph) -> list[int]:
    """Return the places of the edges, those first that lead to what waits for nothing."""
    return sorted(
        range(len(graph.edges)), key=lambda place: graph.edges[place].awaited not in graph.roots
    )


def _is_mild(finding: Finding) -> bool:
    return finding.severity != "error"


def _next_calls(sample: Sample) -> tuple[NextCall, ...]:
    verdict = sample.explanation.verdict

    if not verdict.ranks:
        return (NextCall(tool="ranks", sample=sample.id),)

    ranks = verdict.ranks[:_MOST_RANKS]
    found = [NextCall(tool="stacks", sample=sample.id, ranks=ranks)]

    if verdict.cause is not None and spec_of(verdict.cause).family == "drift":
        found.insert(0, NextCall(tool="env_diff", sample=sample.id))

    own = next(
        (
            n
            for n, finding in enumerate(sample.explanation.findings)
            if finding.cause == verdict.cause
        ),
        0,
    )
    return (*found, NextCall(tool="evidence", id=sample.id_of("f", own)))
