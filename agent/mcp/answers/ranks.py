"""`ranks`: who does what, equal ones together, and the ones to look at one by one."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from dsray_inspect.agent.mcp.answers.rank_notes import groups_of, rank_note
from dsray_inspect.agent.mcp.documents import RanksAnswer
from dsray_inspect.agent.mcp.job_text import NOTICE
from dsray_inspect.agent.mcp.room import Room
from dsray_inspect.agent.mcp.sample import Sample, head_of, limits_of, sample_verdict
from dsray_inspect.agent.model import OK, Worker

_HALF = 0.5


def ranks_answer(
    sample: Sample, tokens: int, now: float, *, ranks: Collection[int] = ()
) -> RanksAnswer:
    """Return all ranks in groups and the most telling ones alone, or only the given ones."""
    workers = sample.snapshot.workers
    chosen = [number for number, worker in enumerate(workers) if not ranks or worker.rank in ranks]
    answer = RanksAnswer(
        notice=NOTICE,
        sample=head_of(sample, now),
        verdict=sample_verdict(sample),
        does_not_prove=limits_of(sample),
    )
    room = Room(tokens, answer)
    together = groups_of(sample, [workers[number] for number in chosen])
    groups, more_groups = room.take(together, share=_HALF)
    ordered = sorted(chosen, key=lambda number: _order(sample, workers[number]))
    rows, more_rows = room.take(rank_note(sample, number) for number in ordered)
    return msgspec.structs.replace(
        answer, groups=groups, groups_left_out=more_groups, ranks=rows, ranks_left_out=more_rows
    )


def _order(sample: Sample, worker: Worker) -> tuple[object, ...]:
    """Sort the blamed first, then who does not live or was not read, then who idles longest."""
    return (
        worker.rank not in sample.explanation.verdict.ranks,
        worker.state == "alive",
        worker.evidence.stack == OK,
        worker.waiting_in is not None,
        -(worker.idle_s or 0.0),
        -1 if worker.rank is None else worker.rank,
    )
