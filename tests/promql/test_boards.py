"""The dashboards without any server: their bytes, their names, and the rules of dashboard-linter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dsray_inspect.dashboards.boards import BOARDS as DRAWN
from dsray_inspect.dashboards.foreign import FOREIGN
from dsray_inspect.dashboards.model import Board
from dsray_inspect.exporters.latest_sample import LatestSample
from dsray_inspect.exporters.metrics import CATALOGUE, SERIES
from dsray_inspect.exporters.prometheus import Collector
from tests.promql import histories
from tests.promql.panels import (
    BOARDS,
    filled,
    label_values,
    names,
    panels,
    targets,
    unselected,
    variables,
)
from tests.promql.server import RULES
from tests.unit import snapshots

ROOT = Path(__file__).parents[2]
TEXTS = {path.name: path.read_text() for path in sorted(RULES.glob("*.yml"))}
RECORDED = set(re.findall(r"record: (\S+)", TEXTS["recording.yml"]))
ALERTS = dict(re.findall(r"- alert: (\S+)[\s\S]+?runbook_url: (\S+)", TEXTS["alerts.yml"]))
ALL_PANELS = [
    pytest.param(uid, panel, id=f"{uid}/{panel['title']}")
    for uid, board in BOARDS.items()
    for panel in panels(board)
]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COUNTERS = {metric.name for metric in CATALOGUE if metric.type == "counter"}


@pytest.mark.parametrize("board", DRAWN, ids=lambda board: board.uid)
def test_the_committed_bytes_are_those_of_the_code(board: Board) -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="needs Python 3.11 and the SDK")
    from dsray_inspect.dashboards.build import FOLDER, render

    committed = (FOLDER / f"{board.uid}.json").read_text()
    assert committed == render(board), "run `make dashboards`"


SCHEMA = json.loads((Path(__file__).parent / "dashboard.schema.json").read_text())
"""Grafana's own: jsonschema/dashboard.jsonschema.json of grafana/grafana-foundation-sdk (Apache-2.0)
at f178d5a42a8915fdda9235e97ad93881e3f94fef, unchanged."""


@pytest.mark.parametrize("uid", BOARDS)
def test_grafanas_schema_takes_it(uid: str) -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(BOARDS[uid])] == []
    assert list(validator.iter_errors(BOARDS[uid] | {"title": 3})), "it takes anything"


def test_every_dashboard_is_there_and_no_other() -> None:
    assert {board.uid for board in DRAWN} == set(BOARDS)


def test_only_names_of_the_catalogue_or_of_the_allow_list() -> None:
    drawn = {name for target in targets() for name in names(target.expr)}
    asked = {
        name
        for board in BOARDS.values()
        for variable in variables(board).values()
        if variable["type"] == "query"
        for name in names(label_values(variable)[0])
    }
    rules = {name for text in TEXTS.values() for name in rule_names(text)}
    assert drawn | asked | rules <= SERIES | FOREIGN | RECORDED
    assert drawn | rules >= FOREIGN | RECORDED


def test_no_metric_of_the_catalogue_is_unused() -> None:
    used = {name for target in targets() for name in names(target.expr)}
    used |= rule_names(TEXTS["recording.yml"])
    assert [metric.name for metric in CATALOGUE if not used & set(metric.series)] == []


def rule_names(text: str) -> set[str]:
    """Return the metrics of the expressions in a file of rules."""
    exprs = re.findall(r"expr: (?:\|\n((?: {10}.*\n|\n)+)|(.+)\n)", text)
    return {
        name
        for block, line in exprs
        for name in names(re.sub(r"#.*", "", block or line))
        if name != "dsray"
    }


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert len(ALERTS) == TEXTS["alerts.yml"].count("- alert:")
    assert set(ALERTS.values()) == {
        str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "runbooks").glob("*.md")
    }
    for alert, page in ALERTS.items():
        text = (ROOT / page).read_text()
        assert f"Alert `{alert}`." in text
        assert re.findall(r"^## (.+)", text, re.M) == [
            *("What it means", "What to type", "What usually fixes it"),
        ]


def test_links_of_runbooks_lead_somewhere() -> None:
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / link).is_file(), (page, link)


def test_every_alert_is_tested() -> None:
    tested = (ROOT / "tests" / "promql" / "alerts_test.yml").read_text()
    firing = set(re.findall(r"alertname: (\w+)\s+exp_alerts:", tested))
    quiet = set(re.findall(r"alertname: (\w+)\}", tested))
    # A hang is told of at once where it has no culprit; its test lists what is quiet by labels.
    assert set(ALERTS) == firing
    assert set(ALERTS) - quiet == {"DsrayRunHung"}


# What dashboard-linter looks for, for a source that is Prometheus.


@pytest.mark.parametrize("uid", BOARDS)
def test_the_source_is_a_variable_that_comes_first(uid: str) -> None:
    first = BOARDS[uid]["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )


@pytest.mark.parametrize("uid", BOARDS)
def test_variables_follow_the_time_range_and_are_used(uid: str) -> None:
    for name, variable in variables(BOARDS[uid]).items():
        assert variable.get("label")

        if variable["type"] == "query":
            assert variable["datasource"] == SOURCE
            assert variable["refresh"] == 2
            exprs = "".join(str(each) for each in BOARDS[uid]["panels"])
            assert f"${name}" in exprs, f"{name} chooses nothing"
            assert not variable["includeAll"] or variable["allValue"] == ".*"


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_can_be_found_and_has_one_id(uid: str) -> None:
    board = BOARDS[uid]
    assert board["uid"] == uid
    assert "id" not in board or board["id"] is None
    assert board["title"].startswith("dsray-inspect / ")
    assert board["description"].endswith("?")
    assert board["tags"] == ["dsray-inspect"]
    assert "__inputs" not in board
    assert board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("uid", BOARDS)
def test_rows_are_questions_and_panels_do_not_overlap(uid: str) -> None:
    taken: set[tuple[int, int]] = set()

    for panel in BOARDS[uid]["panels"]:
        assert panel["type"] != "row" or panel["title"].endswith("?")
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize(("uid", "panel"), ALL_PANELS)
def test_a_panel_says_what_it_is(uid: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == SOURCE
    assert [target["refId"] for target in panel["targets"]] == [
        chr(ord("A") + number) for number in range(len(panel["targets"]))
    ]


@pytest.mark.parametrize(("uid", "panel"), ALL_PANELS)
def test_queries_keep_to_the_rules(uid: str, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expr = target["expr"]
        assert target["datasource"] == SOURCE
        assert bool(target.get("range")) != bool(target.get("instant"))
        assert panel["type"] == "table" or target["legendFormat"]
        assert set(re.findall(r"\[([^]]+)\]", expr)) <= {"$__rate_interval"}
        assert set(re.findall(r"\$(\w+)", expr)) - {"__rate_interval"} <= set(
            variables(BOARDS[uid])
        )
        assert filled(expr, run="r")

        # Every series is chosen by its cluster; what is joined by a GPU's UUID is so by its rank.
        for selector in re.findall(r"(?:dsray|ray|DCGM)[\w:]*\{([^}]*)\}", expr):
            assert 'ray_io_cluster=~"$cluster"' in selector
        assert not unselected(expr)

        # A counter says nothing by itself, but that of restarts.
        for counter in COUNTERS - {"dsray_run_group_restarts_total"}:
            assert not re.search(rf"(?<!rate\(){counter}\{{", expr), counter


def test_variables_choose_in_the_same_order_everywhere() -> None:
    order = ["datasource", "cluster", "run", "attempt", "rank", "node"]

    for board in BOARDS.values():
        chosen = list(variables(board))
        assert chosen == [name for name in order if name in chosen]


def test_series_at_1024_ranks() -> None:
    """10,000 or so a target are what Prometheus takes without thought; this stays in sight of that."""

    def size(ranks: int) -> int:
        run = LatestSample()
        run.put(snapshots.many_ranks(histories.healthy_at(0), ranks))
        return sum(len(family.samples) for family in Collector(run, histories.spans).collect())

    few, more = size(64), size(128)
    each = (more - few) / 64
    at_1024 = more + each * (1024 - 128)
    print(f"{each:.2f} series a rank, {at_1024:.0f} at 1,024 ranks")
    assert each <= 22
    assert at_1024 <= 24_000
