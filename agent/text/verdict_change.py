"""One line for a verdict, when it changes."""

from __future__ import annotations

import time

from dsray_inspect.agent.model import Finding, Record, Run, Snapshot, Verdict
from dsray_inspect.agent.text.style import PLAIN, Style


class Change(Record, frozen=True, kw_only=True):
    """A verdict that is another than the one before: a line of `serve --json`."""

    at: float
    job: str
    run: Run | None
    verdict: Verdict
    findings: tuple[Finding, ...]
    schema_version: int = 1


def change(snapshot: Snapshot) -> Change:
    return Change(
        at=snapshot.taken_at,
        job=snapshot.job.label,
        run=snapshot.run,
        verdict=snapshot.verdict,
        findings=snapshot.findings,
    )


def is_news(before: Snapshot | None, now: Snapshot) -> bool:
    """Return whether the verdict differs: its state, cause or ranks, or the job it is about."""
    if before is None or before.job.job_id != now.job.job_id:
        return True

    old, new = before.verdict, now.verdict
    return (old.state, old.cause, old.ranks) != (new.state, new.cause, new.ranks)


def verdict_line(snapshot: Snapshot, style: Style = PLAIN) -> str:
    """Return "2026-11-24T09:31:07Z  j47  HUNG: Rank 1 is blocked …"."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(snapshot.taken_at))
    job = snapshot.job.label
    verdict = snapshot.verdict
    state = style.state(verdict.state.upper(), verdict.state)
    return f"{style.paint(at, 'dim')}  {job}  {state}: {verdict.summary}"
