"""The flame graph: as wide as ranks times seconds, the outermost function at the top."""

from __future__ import annotations

from itertools import islice
from typing import Final, get_args

from dsray_inspect.agent.model import Layer
from dsray_inspect.agent.page.bars import Box, bar
from dsray_inspect.agent.page.flame_tree import FlameBox, hottest, tree_of, visible_boxes
from dsray_inspect.agent.page.markup import NOTHING, Html, element
from dsray_inspect.agent.page.parts import folded, row, section, table
from dsray_inspect.agent.report.document import Flame, ReportDocument
from dsray_inspect.agent.text.humanize import agree, count, name_ranks, sentence

_MOST_ROWS: Final = 15
_ALL: Final = "all ranks"
_NO_STACK: Final = "no stack could be read"
_KEYS: Final = (
    "Click a function, or press Enter, to widen it; arrow keys move, Escape shows all again. "
)


def flame_graph(report: ReportDocument) -> Html:
    flame = report.flame

    if not flame.total:
        return NOTHING

    boxes = visible_boxes(tree_of(flame))
    levels = max(box.level for box in boxes) + 1
    drawn = (_box(box, flame) for box in boxes)
    graph = element(
        "div",
        bar(drawn, levels=levels, label=f"Flame graph of {len(boxes)} functions"),
        id="flame",
        tabindex=0,
        role="group",
        aria_label="Flame graph",
        aria_describedby="flame-told",
    )
    told = element("output", _told(boxes[0], flame), id="flame-told", class_="told")
    return section(
        "flame-graph",
        "Where the time goes",
        _explained(report),
        _controls(),
        element("p", told),
        graph,
        _legend(flame),
        _table(flame),
    )


def _explained(report: ReportDocument) -> Html:
    ranks = len({rank for stack in report.flame.stacks for rank in stack.ranks})

    if report.flame.unit == "ranks":
        width = f"Width is ranks: {count(ranks, 'rank')} in one sample."
    else:
        total = f"{report.flame.total:.1f} s"
        width = (
            f"Width is ranks × seconds by the wall clock: {count(ranks, 'rank')}, {total} in all, "
            f"seen in {count(report.samples, 'sample')}."
        )

    keys = element("span", " ", _KEYS, class_="needs-script")
    return element("p", width, " A wait counts like work.", keys, class_="note")


def _controls() -> Html:
    search = element(
        "input",
        type="search",
        id="flame-search",
        placeholder="Find a function or file  ( / )",
        aria_label="Find a function or file in the flame graph",
        autocomplete="off",
        spellcheck="false",
    )
    reset = element("button", "Show all", type="button", id="flame-reset", disabled=True)
    found = element("output", "", id="flame-found", for_="flame-search")
    return element("p", search, reset, found, class_="controls needs-script")


def _box(box: FlameBox, flame: Flame) -> Html:
    total = flame.total
    drawn = Box(
        x=box.x,
        width=box.weight / total,
        label=_label(box),
        title=_told(box, flame),
        kind=f"f l-{box.frame.layer}" if box.frame else "f l-none",
        level=box.level,
    )
    return drawn.drawn(data_name=f"{box.frame.name} {box.frame.file}" if box.frame else None)


def _label(box: FlameBox) -> str:
    if box.frame is not None:
        return box.frame.name

    return _NO_STACK if box.level else _ALL


def _told(box: FlameBox, flame: Flame) -> str:
    share = f"{box.weight / flame.total:.1%}"
    where = f" ({box.frame.file}), {box.frame.layer}" if box.frame else ""
    return f"{_label(box)}{where}: {_amount(box.weight, flame)}, {share}, {name_ranks(box.ranks)}"


def _amount(weight: float, flame: Flame) -> str:
    if flame.unit == "ranks":
        return f"{weight:g} {agree(round(weight), 'rank', 'ranks')}"

    return f"{weight:.1f} rank-seconds"


def _legend(flame: Flame) -> Html:
    there = {frame.layer for frame in flame.frames}
    layers = (layer for layer in get_args(Layer) if layer in there)
    keys = (
        element("li", _swatch(layer), layer.replace("_", " "), class_="key") for layer in layers
    )
    return element("ul", *keys, class_="legend", aria_label="Layers")


def _swatch(layer: str) -> Html:
    mark = element("rect", width=12, height=12)
    return element("svg", mark, width=12, height=12, class_=f"l-{layer}", aria_hidden="true")


def _table(flame: Flame) -> Html:
    unit = "rank-seconds" if flame.unit == "seconds" else "ranks"
    rows = [
        row(
            frame.name,
            frame.file,
            frame.layer,
            f"{own:.1f} ({own / flame.total:.0%})",
            f"{whole:.1f} ({whole / flame.total:.0%})",
            class_="own" if frame.layer == "user" else None,
        )
        for frame, own, whole in islice(hottest(flame), _MOST_ROWS)
    ]

    if not rows:
        return NOTHING

    heads = ("function", "file", "layer", f"{unit} in it", "with what it calls")
    return folded("The same as a table", table(heads, rows, label=sentence(unit)))
