"""Who waits for whom: a drawing, and the same as a list with what each wait rests on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dsray_inspect.agent.page.markup import NOTHING, Html, element
from dsray_inspect.agent.page.parts import note, row, scrolled, section, table
from dsray_inspect.agent.page.wait_tree import WaitBox, WaitDrawing, drawing_of
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text.graph import merged
from dsray_inspect.agent.text.humanize import count
from dsray_inspect.agent.text.truncate import cut_middle

_MOST_BOXES: Final = 40
_MOST_ROWS: Final = 60
_BOX: Final = (230, 32)
_APART: Final = (60, 16)
_MARGIN: Final = 4
_LETTERS: Final = 30


def waits(report: ReportDocument) -> Html:
    graph = report.explanation.graph

    if not graph.edges:
        return section("waits", "Who waits for whom", note("Nobody waits for anybody."))

    edges = merged(graph.edges)
    rows = [
        row(waiters, awaited, because, evidence)
        for (waiters, awaited, because), evidence in list(edges.items())[:_MOST_ROWS]
    ]
    more = len(edges) - _MOST_ROWS
    heads = ("waits", "for", "because", "evidence")
    return section(
        "waits",
        "Who waits for whom",
        _drawing(drawing_of(graph)),
        table(heads, rows, label="Waits"),
        note(f"{count(more, 'more wait')} not shown." if more > 0 else ""),
    )


def _drawing(drawing: WaitDrawing) -> Html:
    if len(drawing.boxes) > _MOST_BOXES:
        return NOTHING

    width = _x(max(box.column for box in drawing.boxes)) + _BOX[0] + _MARGIN
    height = _y(max(box.row for box in drawing.boxes)) + _BOX[1] + _MARGIN
    svg = element(
        "svg",
        *_lines(drawing),
        *(_box(box) for box in drawing.boxes),
        width=width,
        height=height,
        class_="waits",
        role="img",
        aria_label="Who waits for whom; the table below has the same",
    )
    return scrolled(svg, label="Drawing of who waits for whom")


def _x(column: int) -> int:
    return _MARGIN + column * (_BOX[0] + _APART[0])


def _y(row_number: int) -> int:
    return _MARGIN + row_number * (_BOX[1] + _APART[1])


def _lines(drawing: WaitDrawing) -> Iterator[Html]:
    for line in drawing.lines:
        start, end = drawing.boxes[line.waiter], drawing.boxes[line.awaited]
        x1, y1 = _x(start.column) + _BOX[0], _y(start.row) + _BOX[1] // 2
        x2, y2 = _x(end.column), _y(end.row) + _BOX[1] // 2
        bend = max(30, abs(x2 - x1) // 2)
        curve = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 7} {y2}"
        title = element("title", f"{start.label} → {end.label}: {line.because}")
        head = element("path", d=f"M{x2} {y2}l-8 -4v8z", class_="head")
        yield element("g", title, element("path", d=curve), head)


def _box(box: WaitBox) -> Html:
    x, y = _x(box.column), _y(box.row)
    kind = "wait root" if box.is_root else "wait"
    mark = " ◀ root" if box.is_root else ""
    return element(
        "g",
        element("title", box.label),
        element("rect", x=x, y=y, width=_BOX[0], height=_BOX[1], rx=4),
        element("text", cut_middle(box.label, _LETTERS - len(mark)) + mark, x=x + 8, y=y + 21),
        class_=kind,
    )
