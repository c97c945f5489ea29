"""What the page's script needs to show another sample."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dsray_inspect.agent.page.markup import Html, data, element, visible
from dsray_inspect.agent.page.parts import clock
from dsray_inspect.agent.page.track_words import phase_text, said_of
from dsray_inspect.agent.report.document import ReportDocument


class PageData(msgspec.Struct):
    """All samples, each text once."""

    moments: list[tuple[str, float, str]]
    """Time, its place on the timeline as a share of it, and the verdict."""
    states: list[tuple[str, str, str]]
    """Function, file and phase."""
    tracks: list[tuple[Sequence[int | None], Sequence[int | None], Sequence[float | None]]]
    """State, step and idle time in each moment."""


def page_data(report: ReportDocument) -> Html:
    """Return the data of the script, as a block that nobody runs."""
    found = PageData(
        moments=[
            (
                clock(moment.at),
                round(_place(moment.at, report), 4),
                visible(said_of(moment.verdict)),
            )
            for moment in report.moments
        ],
        states=[
            (visible(state.function) or "–", visible(state.place), phase_text(state))
            for state in report.states
        ],
        tracks=[(track.states, track.steps, track.idle_s) for track in report.tracks],
    )
    return element("script", data(found), type="application/json", id="data")


def _place(at: float, report: ReportDocument) -> float:
    start, end = report.moments[0].from_at, report.moments[-1].until_at
    return min(1.0, max(0.0, (at - start) / (end - start))) if end > start else 1.0
