"""The committed dashboards as a reader of theirs sees them: panels, their queries, variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import msgspec

BOARDS: Final[dict[str, dict[str, Any]]] = {
    file.name.removesuffix(".json"): json.loads(file.read_text())
    for file in files("dsray_inspect.dashboards").joinpath("grafana").iterdir()
    if file.name.endswith(".json")
}
EVERYTHING: Final = {"cluster": ".*", "attempt": ".*", "rank": ".*", "node": ".*"}
NAME: Final = re.compile(r"\b(?:dsray|ray|DCGM)_\w+|\bdsray:\w+(?::\w+)*|\bup\b")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One query of one panel."""

    board: str
    panel: str
    expr: str
    is_range: bool

    def __str__(self) -> str:
        return f"{self.board}/{self.panel}"


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (panel for panel in board["panels"] if panel["type"] != "row")


def targets() -> Iterator[Target]:
    for uid, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Target(
                    board=uid,
                    panel=panel["title"],
                    expr=target["expr"],
                    is_range=bool(target.get("range")),
                )


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def filled(expr: str, interval: str = "2m", **values: str) -> str:
    """Return the query as Grafana sends it, with its variables filled in."""
    for name, value in (EVERYTHING | values | {"__rate_interval": interval}).items():
        expr = expr.replace(f"${name}", value)

    assert "$" not in expr, expr
    return expr


def names(expr: str) -> set[str]:
    """Return the metrics that a query reads: what is neither a label nor in quotes."""
    return set(NAME.findall(re.sub(r"\{[^}]*\}", "", without_labels(expr))))


def unselected(expr: str) -> set[str]:
    """Return the metrics that a query reads in every cluster and run there is."""
    bare = re.sub(r"\{[^}]*\}", "{}", without_labels(expr))
    return {match[0] for match in NAME.finditer(bare) if not bare[match.end() :].startswith("{")}


def without_labels(expr: str) -> str:
    grouping = r"\b(?:by|on|without|group_left|group_right)\s*\([^)]*\)"
    return re.sub(rf'{grouping}|"[^"]*"', "", expr)


def label_values(variable: dict[str, Any]) -> tuple[str, str]:
    """Return the series and the label that a variable's choices come from."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
    assert found, variable
    return found[1], found[2]
