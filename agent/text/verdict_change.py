"""One line for a verdict, when it changes."""

from __future__ import annotations

import time

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.text.style import PLAIN, Style


def is_news(before: Snapshot | None, now: Snapshot) -> bool:
    """Return whether the verdict is another one: its state, cause or ranks, or the run it is of."""
    if before is None or before.job.job_id != now.job.job_id:
        return True

    return before.verdict.differs_from(now.verdict)


def verdict_line(snapshot: Snapshot, style: Style = PLAIN) -> str:
    """Return "2026-11-24T09:31:07Z  j47  HUNG: Rank 1 is blocked …"."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(snapshot.taken_at))
    job = snapshot.job.label
    verdict = snapshot.verdict
    state = style.state(verdict.state.upper(), verdict.state)
    return f"{style.paint(at, 'dim')}  {job}  {state}: {verdict.summary}"
