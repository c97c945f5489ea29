"""What a dashboard is, before any JSON: rows that are questions, panels that answer them."""

from __future__ import annotations

from typing import Literal

import msgspec

from dsray_inspect.agent.model import Record

Kind = Literal["stat", "timeseries", "timeline", "bars", "table"]
Unit = Literal["short", "s", "bytes", "percentunit", "none", "dateTimeFromNow", "celsius"]


class Query(Record, frozen=True, kw_only=True):
    """PromQL, and how its series are called."""

    expr: str
    legend: str = ""


class Panel(Record, frozen=True, kw_only=True):
    """One answer."""

    title: str
    description: str
    kind: Kind
    queries: tuple[Query, ...]
    unit: Unit = "short"
    width: int = 12
    height: int = 8
    names: dict[str, str] = msgspec.field(default_factory=dict)
    """What numbers stand for, such as the code of a state, with its colour behind a `|`."""
    stacked: bool = False
    maximum: float | None = None
    no_value: str | None = None
    """What stands there while there is nothing to show."""


class Row(Record, frozen=True, kw_only=True):
    """A question that somebody on call asks."""

    question: str
    panels: tuple[Panel, ...]


class Variable(Record, frozen=True, kw_only=True):
    """A choice at the top of a dashboard."""

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
    """Return a panel, written so that its words stand first."""
    return Panel(kind=kind, title=title, description=description, queries=queries, **more)  # type: ignore[arg-type]


def query(expr: str, legend: str = "") -> Query:
    return Query(expr=expr, legend=legend)
