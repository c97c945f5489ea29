"""`ls` as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dsray_inspect.agent.documents import RunRow
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.text.table import table
from dsray_inspect.agent.text.truncate import cut_end, cut_middle

_HEADS: Final = ("submission id", "job", "run", "name", "state", "ranks", "nodes", "entrypoint")
_MOST_OTHERS: Final = 4
_CUTS: Final = {_HEADS.index("name"): cut_middle, _HEADS.index("entrypoint"): cut_end}


def runs_text(runs: Sequence[RunRow]) -> str:
    """Return one line per run, under a line of column heads."""
    return table(_HEADS, [_cells(run) for run in runs], cuts=_CUTS)


def choice_note(candidate: Candidate) -> str | None:
    """Return which of its job's runs this one is, None for an only one."""
    if not candidate.siblings:
        return None

    runs, label = candidate.siblings + 1, candidate.job.label
    others = [f"{label}/{number}" for number in range(1, runs + 1) if number != candidate.number]
    shown = ", ".join(others[:_MOST_OTHERS]) + (", …" if len(others) > _MOST_OTHERS else "")
    return f"This is run {candidate.number} of {runs} of job {label}; the others: {shown}."


def _cells(run: RunRow) -> tuple[str, ...]:
    number = f"/{run.number}" if run.number else ""
    return (
        f"{run.submission_id}{number}" if run.submission_id else "–",
        run.job_id if run.submission_id else f"{run.job_id}{number}",
        (run.run_id or "–")[:8],
        run.run_name or "–",
        run.state,
        str(run.ranks),
        str(run.nodes),
        run.entrypoint,
    )
