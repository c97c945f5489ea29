"""Render the dashboards as Grafana reads them: `make dashboards`.

The only module that needs grafana-foundation-sdk; what it writes is committed and shipped.
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
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
COLUMNS: Final = 24
BUILDERS: Final[dict[str, Any]] = {
    "stat": stat.Panel,
    "timeseries": timeseries.Panel,
    "timeline": statetimeline.Panel,
    "bars": bargauge.Panel,
    "table": table.Panel,
}


def render(board: Board) -> str:
    """Return a dashboard's JSON, the same bytes each time."""
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
    built.variables([source, *map(variable, board.variables)])

    for one in laid_out(board.rows):
        (built.with_row if isinstance(one, dashboard.Row) else built.with_panel)(one)

    return json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def laid_out(rows: tuple[Row, ...]) -> Iterator[Any]:
    """Yield rows and panels with their places, panels side by side while they fit."""
    number = y = 0

    for row in rows:
        number += 1
        yield (
            dashboard.Row(row.question).id(number).grid_pos(model.GridPos(h=1, w=COLUMNS, x=0, y=y))
        )
        y, x, tallest = y + 1, 0, 0

        for one in row.panels:
            if x + one.width > COLUMNS:
                y, x, tallest = y + tallest, 0, 0

            number += 1
            place = model.GridPos(h=one.height, w=one.width, x=x, y=y)
            yield panel(one).id(number).grid_pos(place)
            x, tallest = x + one.width, max(tallest, one.height)

        y += tallest


def panel(one: Panel) -> Any:
    built = (
        BUILDERS[one.kind]()
        .title(one.title)
        .description(one.description)
        .datasource(SOURCE)
        .unit(one.unit)
        .targets([target(one, number) for number in range(len(one.queries))])
    )

    if one.names:
        built.mappings([mapping(one.names)])

    if one.no_value is not None:
        built.no_value(one.no_value)

    if one.maximum is not None:
        built.min(0).max(one.maximum)

    return SHAPES[one.kind](built, one)


def target(one: Panel, number: int) -> Any:
    query: Query = one.queries[number]
    built = (
        prometheus.Dataquery()
        .expr(query.expr)
        .datasource(SOURCE)
        .ref_id(chr(ord("A") + number))
        .legend_format(query.legend)
        .editor_mode(prometheus_model.QueryEditorMode.CODE)
    )

    if one.kind == "table":
        built.format(prometheus_model.PromQueryFormat.TABLE)

    return built.range() if one.kind in ("timeseries", "timeline") else built.instant()


def mapping(names: dict[str, str]) -> model.ValueMap:
    """Return what codes stand for: "text|colour" by number."""
    options = {}

    for index, (number, name) in enumerate(names.items()):
        text, _, color = name.partition("|")
        options[number] = model.ValueMappingResult(text=text, color=color, index=index)

    return model.ValueMap(options=options)


def newest() -> Any:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def as_stat(built: Any, one: Panel) -> Any:
    mode = "BACKGROUND" if one.names else "NONE"
    return built.reduce_options(newest()).color_mode(common_model.BigValueColorMode[mode])


def as_timeseries(built: Any, one: Panel) -> Any:
    legend = common.VizLegendOptions().show_legend(True).calcs(["lastNotNull"])
    built.legend(
        legend.display_mode(common_model.LegendDisplayMode.LIST).placement(
            common_model.LegendPlacement.BOTTOM
        )
    ).tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))

    if one.stacked:
        stacking = common.StackingConfig().mode(common_model.StackingMode.NORMAL)
        built.stacking(stacking).fill_opacity(60)

    return built


def as_timeline(built: Any, _one: Panel) -> Any:
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


def as_bars(built: Any, _one: Panel) -> Any:
    return built.reduce_options(newest()).orientation(common_model.VizOrientation.HORIZONTAL)


def as_table(built: Any, _one: Panel) -> Any:
    hidden = {"Time": True, "__name__": True}
    return built.filterable(True).with_transformation(
        model.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
    )


SHAPES: Final = {
    "stat": as_stat,
    "timeseries": as_timeseries,
    "timeline": as_timeline,
    "bars": as_bars,
    "table": as_table,
}


def variable(one: Variable) -> Any:
    built = (
        dashboard.QueryVariable(one.name)
        .label(one.label)
        .query(one.query)
        .datasource(SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(one.multi)
        .include_all(one.has_all)
    )

    if one.has_all:
        everything = model.VariableOption(
            selected=True,
            text=["All"] if one.multi else "All",
            value=["$__all"] if one.multi else "$__all",
        )
        built.all_value(".*").current(everything)

    return built


def main() -> None:
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(render(board))


if __name__ == "__main__":
    main()
