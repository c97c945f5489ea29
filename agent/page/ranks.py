"""The table of ranks, which the slider of the timeline changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dsray_inspect.agent.page.markup import NOTHING, Html, element
from dsray_inspect.agent.page.parts import clock, section, table
from dsray_inspect.agent.page.track_words import GONE, phase_text, track_name
from dsray_inspect.agent.report.document import ReportDocument, Track
from dsray_inspect.agent.text.humanize import compact, count, duration
from dsray_inspect.agent.text.truncate import cut_end, cut_middle

_HEADS: Final = ("ranks", "node", "GPU", "pid", "function", "file", "phase", "step", "idle")
_MOST_HOSTS: Final = 3
_MOST_PIDS: Final = 4
_WIDTH: Final = 40


def ranks(report: ReportDocument) -> Html:
    if not report.tracks:
        return NOTHING

    at = element("output", clock(report.moments[-1].at), id="ranks-at")
    title = element("p", "As of ", at, ".", class_="note")
    rows = (_rank_row(number, track, report) for number, track in enumerate(report.tracks))
    return section("ranks", "Ranks", title, table(_HEADS, rows, label="Ranks", class_="ranks"))


def _rank_row(number: int, track: Track, report: ReportDocument) -> Html:
    index = track.states[-1]
    state = None if index is None else report.states[index]
    step, idle_s = track.steps[-1], track.idle_s[-1]
    cells = (
        element("th", track_name(track), scope="row"),
        element("td", _hosts(track.hosts)),
        element("td", _gpus(track.gpus)),
        element("td", _pids(track.pids)),
        element("td", (state.function or "–") if state else "–", class_="function"),
        element("td", state.place if state else "", class_="place"),
        element("td", phase_text(state) if state else GONE, class_="phase"),
        element("td", "–" if step is None else str(step), class_="step"),
        element("td", "–" if idle_s is None else duration(idle_s), class_="idle"),
    )
    return element("tr", *cells, class_="blamed" if track.is_blamed else None, data_track=number)


def _hosts(hosts: Sequence[str]) -> str:
    shown = ", ".join(cut_middle(host, _WIDTH) for host in hosts[:_MOST_HOSTS])
    return f"{shown}, … ({count(len(hosts), 'host')})" if len(hosts) > _MOST_HOSTS else shown


def _gpus(slots: Sequence[int]) -> str:
    return cut_end(compact(sorted(slots)), _WIDTH) or "–"


def _pids(pids: Sequence[int]) -> str:
    if len(pids) > _MOST_PIDS:
        return count(len(pids), "process", "processes")

    return ", ".join(map(str, pids)) or "–"
