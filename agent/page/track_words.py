"""What a track and the states of its ranks are called."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.model import Verdict
from dsray_inspect.agent.report.document import RankState, Track
from dsray_inspect.agent.text.humanize import compact, name_ranks, sentence
from dsray_inspect.agent.text.truncate import cut_end

GONE: Final = "gone"
"""Said of a rank that is not there in a sample."""
_NAME_WIDTH: Final = 16
_CUT_WIDTH: Final = 9
_SUMMARY_WIDTH: Final = 300
_CULPRIT: Final = "✗"


def track_name(track: Track) -> str:
    known = [rank for rank in track.ranks if rank is not None]

    if len(known) < len(track.ranks):
        return sentence(name_ranks(track.ranks))

    numbers = compact(known)
    is_short = len(numbers) <= _NAME_WIDTH
    short = numbers if is_short else f"{cut_end(numbers, _CUT_WIDTH)} ({len(known)})"
    return f"{short} {_CULPRIT}" if track.is_blamed else short


def state_text(state: RankState | None) -> str:
    if state is None:
        return GONE

    where = f" in {state.function} ({state.place})" if state.function else ""
    return f"{phase_text(state)}{where}"


def phase_text(state: RankState) -> str:
    return state.phase if state.state == "alive" else f"{state.phase} ({state.state})"


def said_of(verdict: Verdict) -> str:
    return f"{verdict.state.upper()}: {cut_end(verdict.summary, _SUMMARY_WIDTH)}"
