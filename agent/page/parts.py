"""The parts that every section is made of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from dsray_inspect.agent.page.markup import NOTHING, Html, element, join

_HEAD_COLUMNS: Final = 12
"""Where the text begins in the lines that `attach` prints."""


def section(name: str, title: str, *children: Html) -> Html:
    """Return a section with a heading, or nothing where it would be empty."""
    if not any(children):
        return NOTHING

    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def table(heads: Sequence[str], rows: Iterable[Html], *, label: str, class_: str = "") -> Html:
    """Return a table that scrolls by itself where the page is narrow."""
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in heads)))
    body = element("tbody", *rows)
    return scrolled(element("table", head, body, class_=class_ or None), label=label)


def scrolled(child: Html, *, label: str) -> Html:
    """Return what may be wider than the page; the keyboard scrolls it too."""
    return element("div", child, class_="wide", tabindex=0, role="region", aria_label=label)


def row(*cells: str, class_: str | None = None) -> Html:
    return element("tr", *(element("td", cell) for cell in cells), class_=class_)


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Return a list of heads with texts; an empty head continues the one before."""
    shown: list[tuple[str, list[str]]] = []

    for head, text in pairs:
        if head or not shown:
            shown.append((head, [text]))
        else:
            shown[-1][1].append(text)

    if not shown:
        return NOTHING

    return element(
        "dl", *(part for head, texts in shown for part in (_term(head), *map(_meaning, texts)))
    )


def _term(head: str) -> Html:
    return element("dt", head)


def _meaning(text: str) -> Html:
    return element("dd", text)


def printed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield lines as `attach` prints them, with their heads in a column, as heads and texts."""
    for line in lines:
        yield line[:_HEAD_COLUMNS].strip(), line[_HEAD_COLUMNS:].strip()


def note(text: str) -> Html:
    return element("p", text, class_="note") if text else NOTHING


def folded(title: str, *children: Html) -> Html:
    """Return what is opened by a click, or by the script before it is printed."""
    return element("details", element("summary", title), *children)


def bullets(texts: Iterable[str]) -> Html:
    items = join(element("li", text) for text in texts)
    return element("ul", items) if items else NOTHING


def percent(share: float) -> str:
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", _gmtime(at))


def clock(at: float) -> str:
    """Return the time of day, in UTC as all times of a report."""
    return time.strftime("%H:%M:%S", _gmtime(at)) + f".{int(at % 1 * 10)}"


def _gmtime(at: float) -> time.struct_time:
    """Return a time, or the first of all for one that no calendar has, as a foreign file may say."""
    try:
        return time.gmtime(at)
    except (OverflowError, ValueError, OSError):
        return time.gmtime(0)
