"""What differs between ranks: environment and DeepSpeed config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dsray_inspect.agent.environment import Difference, ValueOnRanks
from dsray_inspect.agent.page.markup import NOTHING, Html, element
from dsray_inspect.agent.page.parts import folded, note, section, table
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text.humanize import count, name_ranks, sentence
from dsray_inspect.agent.text.truncate import cut_middle

_MOST_VALUES: Final = 8
_MOST_NAMES: Final = 200
_VALUE_WIDTH: Final = 400
_HEADS: Final = ("name", "ranks", "value", "set by")


def differences(report: ReportDocument) -> Html:
    workers = report.explanation.snapshot.workers
    seen = sum(bool(worker.env) for worker in workers)
    engines = sum(worker.deepspeed is not None for worker in workers)
    return section(
        "differences",
        "Differences between ranks",
        element("h3", "Environment"),
        _unless_alone(report.env.drift, seen, "environment"),
        _expected(report.env.expected),
        element("h3", "DeepSpeed config"),
        _unless_alone(report.config, engines, "config"),
    )


def _unless_alone(found: Sequence[Difference], seen: int, what: str) -> Html:
    if found:
        return _table(found, label=f"Differences of {what}")

    if not seen:
        return note(f"No rank's {what} was read.")

    if seen == 1:
        return note(f"The {what} of one rank was read: there is nothing to compare.")

    return note(f"Nothing differs that should not ({count(seen, 'rank')}).")


def _expected(found: Sequence[Difference]) -> Html:
    if not found:
        return NOTHING

    names = count(len(found), "variable")
    differ = "differs" if len(found) == 1 else "differ"
    return folded(f"{names} {differ} as expected", _table(found, label="Expected differences"))


def _table(found: Sequence[Difference], *, label: str) -> Html:
    rows = (row for difference in found[:_MOST_NAMES] for row in _rows(difference))
    return table(_HEADS, rows, label=label, class_="differences")


def _rows(difference: Difference) -> Iterator[Html]:
    shown = difference.values[:_MOST_VALUES]
    hidden = len(difference.values) - len(shown)
    lines = len(shown) + (hidden > 0)

    for number, held in enumerate(shown):
        name = element("th", difference.name, scope="row", rowspan=lines) if not number else NOTHING
        yield element("tr", name, *_cells(held))

    if hidden:
        yield element("tr", element("td", f"and {count(hidden, 'more value')}", colspan=3))


def _cells(held: ValueOnRanks) -> Iterator[Html]:
    yield element("td", sentence(name_ranks(held.ranks)))

    if held.value is None:
        yield element("td", "not set", class_="unset")
    else:
        yield element("td", cut_middle(held.value, _VALUE_WIDTH), class_="value")

    yield element("td", held.source or "")
