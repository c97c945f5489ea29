"""`ls` as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dsray_inspect.agent.documents import RunRow
from dsray_inspect.agent.text.table import table
from dsray_inspect.agent.text.truncate import cut_end, cut_middle

_HEADS: Final = ("submission id", "job", "run", "name", "state", "ranks", "nodes", "entrypoint")
_CUTS: Final = {_HEADS.index("name"): cut_middle, _HEADS.index("entrypoint"): cut_end}


def runs_text(runs: Sequence[RunRow]) -> str:
    """Return one line per run, under a line of column heads."""
    return table(_HEADS, [_cells(run) for run in runs], cuts=_CUTS)


def _cells(run: RunRow) -> tuple[str, ...]:
    return (
        run.submission_id or "–",
        run.job_id,
        (run.run_id or "–")[:8],
        run.run_name or "–",
        run.state,
        str(run.ranks),
        str(run.nodes),
        run.entrypoint,
    )
