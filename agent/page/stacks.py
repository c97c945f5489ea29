"""The merged stacks: the tree that `stacks` prints, colored by layer."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.page.markup import Html, element
from dsray_inspect.agent.page.parts import bullets, note, scrolled, section
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text.stacks import Line, Writer, unseen
from dsray_inspect.agent.text.style import PLAIN

_MOST_LINES: Final = 1500


def stacks(report: ReportDocument) -> Html:
    snapshot = report.explanation.snapshot
    writer = Writer(snapshot, PLAIN, False)
    found = [*writer.driver(), *writer.controller(), *writer.workers()]
    rows = (_line(line) for line in found[:_MOST_LINES])
    tree = element("table", element("tbody", *rows), class_="stacks")
    more = len(found) - _MOST_LINES
    return section(
        "stacks",
        "Stacks",
        note("In the last sample: equal stacks once, with their ranks in brackets."),
        scrolled(tree, label="Stacks"),
        note(f"{more} more lines are not shown." if more > 0 else ""),
        bullets(unseen(snapshot)),
    )


def _line(line: str | Line) -> Html:
    if isinstance(line, str):
        return element("tr", element("td", line, colspan=4))

    cells = (
        element("td", element("span", line.lead, class_="lead"), line.name),
        element("td", line.place),
        element("td", line.layer),
        element("td", line.mark),
    )
    return element("tr", *cells, class_=f"t-{line.layer}")
