"""Renders the dashboards as Grafana JSON: `make dashboards`.

The only module that needs grafana-foundation-sdk; its output is committed and shipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model

from dsray_inspect.dashboards.boards import BOARDS
from dsray_inspect.dashboards.model import Board, Panel, Query, Row, Variable

FOLDER: Final = Path(__file__).parent / "grafana"
_SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_COLUMNS: Final = 24
_BUILDERS: Final[dict[str, Any]] = {
    "stat": stat.Panel,
    "timeseries": timeseries.Panel,
    "timeline": statetimeline.Panel,
    "bars": bargauge.Panel,
    "table": table.Panel,
}


def render(board: Board) -> str:
    """Return a dashboard as JSON; equal input gives equal bytes."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["dsray-inspect"])
        .editable()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-30m", "now")
        .refresh("30s")
        .link(
            dashboard.DashboardLink("dsray-inspect")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["dsray-inspect"])
            .include_vars(True)
            .keep_time(True)
        )
    )
    source = dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
    built.variables([source, *map(_built_variable, board.variables)])

    for element in _laid_out(board.rows):
        (built.with_row if isinstance(element, dashboard.Row) else built.with_panel)(element)

    return json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _laid_out(rows: tuple[Row, ...]) -> Iterator[Any]:
    """Yield rows and panels with their positions, panels side by side while they fit."""
    number = y = 0

    for row in rows:
        number += 1
        yield (
            dashboard.Row(row.question)
            .id(number)
            .grid_pos(model.GridPos(h=1, w=_COLUMNS, x=0, y=y))
        )
        y, x, tallest = y + 1, 0, 0

        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                y, x, tallest = y + tallest, 0, 0

            number += 1
            position = model.GridPos(h=panel.height, w=panel.width, x=x, y=y)
            yield _built_panel(panel).id(number).grid_pos(position)
            x, tallest = x + panel.width, max(tallest, panel.height)

        y += tallest


def _built_panel(panel: Panel) -> Any:
    built = (
        _BUILDERS[panel.kind]()
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .targets([_target(panel, number) for number in range(len(panel.queries))])
    )

    if panel.names:
        built.mappings([_value_map(panel.names)])

    if panel.no_value is not None:
        built.no_value(panel.no_value)

    if panel.maximum is not None:
        built.min(0).max(panel.maximum)

    return _STYLES[panel.kind](built, panel)


def _target(panel: Panel, number: int) -> Any:
    query: Query = panel.queries[number]
    built = (
        prometheus.Dataquery()
        .expr(query.expr)
        .datasource(_SOURCE)
        .ref_id(chr(ord("A") + number))
        .legend_format(query.legend)
        .editor_mode(prometheus_model.QueryEditorMode.CODE)
    )

    if panel.kind == "table":
        built.format(prometheus_model.PromQueryFormat.TABLE)

    return built.range() if panel.kind in ("timeseries", "timeline") else built.instant()


def _value_map(names: dict[str, str]) -> model.ValueMap:
    """Return what codes stand for, from "text|colour" by number."""
    options = {}

    for index, (number, name) in enumerate(names.items()):
        text, _, color = name.partition("|")
        options[number] = model.ValueMappingResult(text=text, color=color, index=index)

    return model.ValueMap(options=options)


def _newest() -> Any:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _as_stat(built: Any, panel: Panel) -> Any:
    mode = "BACKGROUND" if panel.names else "NONE"
    return built.reduce_options(_newest()).color_mode(common_model.BigValueColorMode[mode])


def _as_timeseries(built: Any, panel: Panel) -> Any:
    legend = common.VizLegendOptions().show_legend(True).calcs(["lastNotNull"])
    built.legend(
        legend.display_mode(common_model.LegendDisplayMode.LIST).placement(
            common_model.LegendPlacement.BOTTOM
        )
    ).tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))

    if panel.stacked:
        stacking = common.StackingConfig().mode(common_model.StackingMode.NORMAL)
        built.stacking(stacking).fill_opacity(60)

    return built


def _as_timeline(built: Any, _panel: Panel) -> Any:
    legend = common.VizLegendOptions().show_legend(False)
    legend.display_mode(common_model.LegendDisplayMode.LIST).placement(
        common_model.LegendPlacement.BOTTOM
    )
    return (
        built.merge_values(True)
        .show_value(common_model.VisibilityMode.AUTO)
        .row_height(0.9)
        .per_page(32)
        .legend(legend)
    )


def _as_bars(built: Any, _panel: Panel) -> Any:
    return built.reduce_options(_newest()).orientation(common_model.VizOrientation.HORIZONTAL)


def _as_table(built: Any, _panel: Panel) -> Any:
    hidden = {"Time": True, "__name__": True}
    return built.filterable(True).with_transformation(
        model.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
    )


_STYLES: Final = {
    "stat": _as_stat,
    "timeseries": _as_timeseries,
    "timeline": _as_timeline,
    "bars": _as_bars,
    "table": _as_table,
}


def _built_variable(variable: Variable) -> Any:
    built = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .query(variable.query)
        .datasource(_SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(variable.multi)
        .include_all(variable.has_all)
    )

    if variable.has_all:
        everything = model.VariableOption(
            selected=True,
            text=["All"] if variable.multi else "All",
            value=["$__all"] if variable.multi else "$__all",
        )
        built.all_value(".*").current(everything)

    return built


def main() -> None:
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(render(board))


if __name__ == "__main__":
    main()
