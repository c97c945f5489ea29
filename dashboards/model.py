"""Dashboards as records, independent of Grafana's JSON: rows are questions, panels answer them."""

from __future__ import annotations

from typing import Literal

import msgspec

from dsray_inspect.agent.model import Record

Kind = Literal["stat", "timeseries", "timeline", "bars", "table"]
Unit = Literal["short", "s", "bytes", "percentunit", "none", "dateTimeFromNow", "celsius"]


class Query(Record, frozen=True, kw_only=True):
    """A PromQL expression and the legend of its series."""

    expr: str
    legend: str = ""


class Panel(Record, frozen=True, kw_only=True):
    """One panel: a title, a sentence of explanation, and queries."""

    title: str
    description: str
    kind: Kind
    queries: tuple[Query, ...]
    unit: Unit = "short"
    width: int = 12
    height: int = 8
    names: dict[str, str] = msgspec.field(default_factory=dict)
    """The meaning of numeric values, such as codes of states: "text|colour" by number."""
    stacked: bool = False
    maximum: float | None = None
    no_value: str | None = None
    """The text to show while there is no data."""


class Row(Record, frozen=True, kw_only=True):
    """A question that an on-call engineer asks, and the panels that answer it."""

    question: str
    panels: tuple[Panel, ...]


class Variable(Record, frozen=True, kw_only=True):
    """A selector at the top of a dashboard."""

    name: str
    label: str
    query: str
    multi: bool = False
    has_all: bool = True


class Board(Record, frozen=True, kw_only=True):
    """One dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]


def panel(kind: Kind, title: str, description: str, *queries: Query, **more: object) -> Panel:
    """Return a panel; positional arguments keep its texts first in the source."""
    return Panel(kind=kind, title=title, description=description, queries=queries, **more)  # type: ignore[arg-type]


def query(expr: str, legend: str = "") -> Query:
    return Query(expr=expr, legend=legend)
