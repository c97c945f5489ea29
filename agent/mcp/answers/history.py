"""`history`: what the ranks did before, and which verdicts were given since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.history import History
from dsray_inspect.agent.mcp.documents import HistoryAnswer
from dsray_inspect.agent.mcp.job_text import LINE, NOTICE, clean
from dsray_inspect.agent.mcp.notes import LateRank, Past, Texts, VerdictChangeNote
from dsray_inspect.agent.mcp.room import Room
from dsray_inspect.agent.mcp.sample import Sample, head_of, maybe_seconds, seconds

NO_LOG: Final = (
    "No log of earlier runs, attempts, verdicts and incidents is kept yet: what happened before "
    "this is known only from incident files."
)
ONLY_OURS: Final = (
    "Verdicts of a live job are those that this server gave when it was asked; nobody watched the "
    "job in between."
)
ONLY_RECORDED: Final = "Verdicts are those of the seconds in which the file was recorded."
NOT_READ: Final = (
    "The ranks' flight recorders are only read while every rank stands still, so that no rank that "
    "trains is paused for it."
)
_MOST_LATE: Final = 8


def history_answer(
    sample: Sample,
    tokens: int,
    now: float,
    *,
    past: History | None,
    changes: Sequence[VerdictChangeNote],
    samples: int,
) -> HistoryAnswer:
    """Return the answer of `history`; `changes` are the newest last."""
    has_past = past is not None and bool(past.ranks)
    why_none = past.note if past is not None and not has_past else ""
    missing = [NO_LOG, ONLY_RECORDED if sample.is_from_file else ONLY_OURS]
    missing += [NOT_READ] if past is None and not sample.is_from_file else []
    answer = HistoryAnswer(
        notice=NOTICE,
        sample=head_of(sample, now),
        missing=tuple(missing),
        before=_past(past) if past is not None and has_past else None,
        untrusted=Texts(texts=(clean(why_none, LINE),)) if why_none else None,
        samples=samples,
    )
    verdicts, more = Room(tokens, answer).take(reversed(changes))
    return msgspec.structs.replace(answer, verdicts=verdicts, verdicts_left_out=more)


def _past(past: History) -> Past:
    late = sorted(
        (rank for rank in past.ranks if past.is_late(rank)), key=lambda rank: -rank.late_s
    )
    ended_ns = past.step_ended_ns
    return Past(
        seconds=seconds(past.span_s),
        ranks=len(past.ranks),
        steps=past.steps,
        step_s=None if past.step_s is None else round(past.step_s, 3),
        last_step_ended_ago_s=maybe_seconds(
            None if ended_ns is None else (past.until_ns - ended_ns) / 1e9
        ),
        late=tuple(
            LateRank(rank=rank.rank, waited_for_s=seconds(rank.late_s))
            for rank in late[:_MOST_LATE]
        ),
    )
