"""The ranks over time, with a slider over the samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from dsray_inspect.agent.model import PHASES
from dsray_inspect.agent.page.bars import Box, bar
from dsray_inspect.agent.page.markup import NOTHING, Html, element, join
from dsray_inspect.agent.page.parts import clock, facts, note, printed, section
from dsray_inspect.agent.page.track_words import GONE, phase_text, said_of, state_text, track_name
from dsray_inspect.agent.report.document import RankState, ReportDocument, Track
from dsray_inspect.agent.text.history_lines import past_lines
from dsray_inspect.agent.text.humanize import count, name_ranks

_MOST_SPOKEN: Final = 8
"""So many states of a strip are read out."""


def timeline(report: ReportDocument) -> Html:
    if not report.tracks:
        return section("timeline", "Timeline", note("There were no ranks."))

    return section(
        "timeline",
        "Timeline",
        _slider(report),
        element("div", *(_line(track, report) for track in report.tracks), class_="tracks"),
        _axis(report),
        _legend(report),
        _hidden(report),
        facts(printed(past_lines(report.history))),
    )


def _slider(report: ReportDocument) -> Html:
    last = len(report.moments) - 1
    moment = report.moments[-1]
    place = element("span", f"sample {last + 1} of {last + 1}", id="moment-number")
    slider = element(
        "input",
        type="range",
        id="moment",
        min=0,
        max=last,
        value=last,
        disabled=last == 0,
        aria_label="Sample; the arrow keys step",
    )
    told = element("output", said_of(moment.verdict), id="moment-verdict", for_="moment")
    at = element("time", clock(moment.at), id="moment-at")
    line = element("p", at, " · ", place, " · ", told, class_="moment", aria_live="polite")
    return join((element("div", slider, class_="slider needs-script"), line))


def _line(track: Track, report: ReportDocument) -> Html:
    name = element("span", track_name(track), class_="track-name", title=name_ranks(track.ranks))
    strip = bar((*_boxes(track, report), _cursor()), label=_described(track, report))
    return element("div", name, strip, class_="track blamed" if track.is_blamed else "track")


def _axis(report: ReportDocument) -> Html:
    first, last = report.moments[0], report.moments[-1]
    ends = (element("span", clock(first.at)), element("span", clock(last.at)))
    return element("p", *ends, class_="axis", aria_hidden="true") if last is not first else NOTHING


def _cursor() -> Html:
    return element("rect", class_="cursor", x="100%", width=2, height="100%")


def _boxes(track: Track, report: ReportDocument) -> Iterator[Html]:
    """Yield one box for consecutive samples in one state."""
    moments = report.moments
    start, end = moments[0].from_at, moments[-1].until_at

    for number, run in groupby(range(len(moments)), key=lambda index: track.states[index]):
        held = list(run)
        since, until = moments[held[0]].from_at, moments[held[-1]].until_at
        x, width = _place(since, until, start, end, held, len(moments))
        state = None if number is None else report.states[number]
        over = f"{clock(moments[held[0]].at)} to {clock(moments[held[-1]].at)}"
        title = f"{state_text(state)}, {count(len(held), 'sample')}, {over}"
        label = _label(state)
        yield Box(x=x, width=width, label=label, title=title, kind=_kind(state)).drawn()


def _label(state: RankState | None) -> str:
    if state is None:
        return GONE

    return " · ".join(part for part in (state.function, phase_text(state)) if part)


def _place(
    since: float, until: float, start: float, end: float, held: Sequence[int], moments: int
) -> tuple[float, float]:
    """Return where a box begins and how wide it is, by time, or by number if no time passed."""
    if end <= start:
        return held[0] / moments, len(held) / moments

    return (since - start) / (end - start), (until - since) / (end - start)


def _kind(state: RankState | None) -> str:
    if state is None:
        return "p-gone"

    return f"p-{state.phase}" if state.state == "alive" else f"p-{state.phase} w-{state.state}"


def _described(track: Track, report: ReportDocument) -> str:
    """Return what a screen reader says of a strip."""
    runs = [number for number, _ in groupby(track.states)]
    told = (state_text(None if n is None else report.states[n]) for n in runs[:_MOST_SPOKEN])
    more = f", and {len(runs) - _MOST_SPOKEN} more" if len(runs) > _MOST_SPOKEN else ""
    return f"{name_ranks(track.ranks)}: {', then '.join(told)}{more}"


def _legend(report: ReportDocument) -> Html:
    there = {state.phase for state in report.states}
    shown = [phase for phase in PHASES if phase in there]
    swatches = (
        element("li", _swatch(f"p-{phase}"), phase.replace("_", " "), class_="key")
        for phase in shown
    )
    return element("ul", *swatches, class_="legend", aria_label="Phases")


def _swatch(kind: str) -> Html:
    mark = element("rect", width=12, height=12)
    return element("svg", mark, width=12, height=12, class_=kind, aria_hidden="true")


def _hidden(report: ReportDocument) -> Html:
    parts = []

    if report.hidden_ranks:
        parts.append(
            f"{count(report.hidden_ranks, 'rank')} in states of their own "
            f"{'is' if report.hidden_ranks == 1 else 'are'} not shown; the incident file has all."
        )

    if len(report.moments) < report.samples:
        parts.append(
            f"{len(report.moments)} of {report.samples} samples are shown here; "
            "the flame graph counts all."
        )

    return note(" ".join(parts))
