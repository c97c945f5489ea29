"""How the run started, what that cost, and the engine that it came to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from dsray_inspect.agent.model import Cost, Snapshot, Startup
from dsray_inspect.agent.page.bars import Box, bar
from dsray_inspect.agent.page.markup import NOTHING, Html, element
from dsray_inspect.agent.page.parts import bullets, facts, printed, row, section, table
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text.humanize import count, duration, size
from dsray_inspect.agent.text.report import deepspeed_lines
from dsray_inspect.agent.text.startup import SHOWN_S, WORDS, total_of

_SHADES: Final = 5


def start(report: ReportDocument) -> Html:
    snapshot = report.explanation.snapshot
    return section(
        "start",
        "Start-up and what it cost",
        *(_startup(snapshot.startup) if snapshot.startup else ()),
        _costs(snapshot),
        facts(_engines(deepspeed_lines(snapshot))),
    )


def _startup(startup: Startup) -> Iterator[Html]:
    yield element("p", f"The start took {total_of(startup)}.")
    boxes = list(_boxes(startup))

    if boxes:
        yield element("div", bar((box.drawn() for box in boxes), label="Parts of the start"))
        yield bullets(box.title for box in boxes)

    yield bullets(startup.notes)


def _boxes(startup: Startup) -> Iterator[Box]:
    total = sum(part.seconds for part in startup.parts) or 1.0
    merged: dict[str, float] = {}
    x = 0.0

    for part in startup.parts:
        merged[WORDS[part.name]] = merged.get(WORDS[part.name], 0.0) + part.seconds

    for number, (word, seconds) in enumerate(merged.items()):
        if seconds >= SHOWN_S:
            title = f"{word}: {duration(seconds)}"
            kind = f"shade-{number % _SHADES}"
            yield Box(x=x, width=seconds / total, label=word, title=title, kind=kind)

        x += seconds / total


def _costs(snapshot: Snapshot) -> Html:
    known = [cost for cost in snapshot.costs if cost.seconds is not None]

    if not known:
        return NOTHING

    rows = (
        row(
            cost.name.replace("_", " "),
            duration(cost.seconds) if cost.seconds is not None else "",
            _detail(cost),
            cost.evidence,
        )
        for cost in known
    )
    heads = ("what", "of the rank it cost most", "detail", "evidence")
    return table(heads, rows, label="Costs")


def _detail(cost: Cost) -> str:
    parts = [
        cost.detail or "",
        count(cost.count, "time") if cost.count is not None else "",
        size(cost.bytes) if cost.bytes is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _engines(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each engine; the page wraps lines itself."""
    texts: list[str] = []

    for head, text in printed(lines):
        if head:
            texts.append(text)
        else:
            texts[-1] += f" {text}"

    yield from (("" if number else "DeepSpeed", text) for number, text in enumerate(texts))
