"""Every query of every panel and rule, on a real Prometheus with the histories of four runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.promql.conftest import needs_prometheus
from tests.promql.histories import BEGIN_S, EVERY_S, HISTORIES, History
from tests.promql.panels import BOARDS, Target, filled, label_values, targets, variables
from tests.promql.server import RULES, Prometheus, promtool

pytestmark = needs_prometheus

ONLY_IN = {"Time in the oldest of them": {"hang"}}
"""Panels that have something to show only when something is wrong."""
FIRING = {
    "healthy": set[str](),
    "hang": {"DsrayRunHung", "DsrayRunStalled"},
    "straggler": {"DsrayStraggler"},
    "restart": {"DsrayWorkerDead", "DsrayRunRestarted"},
}
LATEST_S = {"DsrayRunHung": 30, "DsrayRunStalled": 600, "DsrayRunRestarted": 120}
"""How long after its begin an incident first fulfils a rule, where that is not at once."""


def results(server: Prometheus, target: Target, run: History) -> list[dict[str, Any]]:
    expr = filled(target.expr, cluster=run.cluster, run=run.run_id)
    end = BEGIN_S + run.lasts_s

    if target.is_range:
        return server.over(expr, BEGIN_S, end, EVERY_S)

    return server.at(expr, end)


@pytest.mark.parametrize("run", HISTORIES, ids=lambda run: run.name)
@pytest.mark.parametrize("board", BOARDS)
def test_no_panel_is_empty_and_none_shows_another_run(
    history: Prometheus, board: str, run: History
) -> None:
    for target in targets():
        if target.board != board:
            continue

        found = results(history, target, run)
        expected = run.name in ONLY_IN.get(target.panel, {run.name})
        assert bool(found) == expected, (target, target.expr)
        labels = [series["metric"] for series in found]
        assert {each.get("run_id", run.run_id) for each in labels} <= {run.run_id}
        assert {each.get("ray_io_cluster", run.cluster) for each in labels} <= {run.cluster}


@pytest.mark.parametrize("board", BOARDS)
def test_every_variable_has_something_to_choose(history: Prometheus, board: str) -> None:
    run = HISTORIES[0]

    for name, variable in variables(BOARDS[board]).items():
        if name == "datasource":
            continue

        series, label = label_values(variable)
        selector = filled(series, cluster=run.cluster, run=run.run_id)
        values = history.get(f"label/{label}/values", **{"match[]": selector})
        assert values, variable
        assert name != "run" or set(values) == {"01000000", "feed01"}


@pytest.mark.parametrize("run", HISTORIES, ids=lambda run: run.name)
def test_ranks_and_values_are_those_of_the_run(history: Prometheus, run: History) -> None:
    by_panel = {target.panel: target for target in targets()}
    end = BEGIN_S + run.lasts_s
    phases = results(history, by_panel["Phase of each rank"], run)
    assert {each["metric"]["rank"] for each in phases} == {"0", "1", "2"}
    (step,) = history.at(
        filled(by_panel["Global step"].expr, cluster=run.cluster, run=run.run_id), end
    )
    assert step["value"][1] == str(run.snapshot_at(run.lasts_s).workers[0].step)
    (verdict,) = results(history, by_panel["Verdict"], run)
    state = {"healthy": "1", "hang": "4", "straggler": "3", "restart": "1"}[run.name]
    assert verdict["value"][1] == state
    culprits = results(history, by_panel["Culprits"], run)
    blamed = {"hang": {"1"}, "straggler": {"2"}}.get(run.name, {None})
    assert {each["metric"].get("rank") for each in culprits} == blamed
    gpus = results(history, by_panel["Utilization by rank, from DCGM"], run)
    assert {each["metric"]["rank"] for each in gpus} == {"0", "1", "2"}
    assert {value for each in gpus for _, value in each["values"]} == {"0.8"}


def firing_s(rule: dict[str, Any], series: dict[str, Any]) -> float | None:
    """Return how long after the begin of the history an alert first fires, by its `for`."""
    since = previous = None

    for at, _ in series["values"]:
        since = at if previous is None or at - previous > EVERY_S else since
        previous = at

        if at - since >= rule["duration"]:
            return float(at - BEGIN_S)

    return None


def is_of(run: History, labels: dict[str, str]) -> bool:
    own = {"ray_io_cluster": run.cluster, "run_id": run.run_id, "instance": run.instance}
    return all(labels.get(name, value) == value for name, value in own.items())


@pytest.mark.parametrize("run", HISTORIES, ids=lambda run: run.name)
def test_alerts_fire_in_time_and_in_no_other_run(history: Prometheus, run: History) -> None:
    fired: dict[str, float] = {}
    holds: dict[str, float] = {}

    for rule in history.rules():
        if rule["type"] != "alerting":
            continue

        for series in history.over(rule["query"], BEGIN_S, BEGIN_S + run.lasts_s, EVERY_S):
            at = firing_s(rule, series)

            if at is not None and is_of(run, series["metric"]):
                fired[rule["name"]] = min(at, fired.get(rule["name"], at))
                holds[rule["name"]] = rule["duration"]

    assert set(fired) == FIRING[run.name]

    for name, at in fired.items():
        delay = at - run.begins_s - LATEST_S.get(name, 0)
        # What began is seen by the next sample, and judged by the next evaluation.
        assert 0 <= delay <= holds[name] + 2 * EVERY_S, (name, at)


def test_every_recording_rule_records_something(history: Prometheus) -> None:
    recorded = [rule for rule in history.rules() if rule["type"] == "recording"]

    for rule in recorded:
        assert history.at(rule["name"], BEGIN_S + 1800), rule["name"]
    assert len(recorded) == 10


def test_alerts_as_promtool_tests_them() -> None:
    promtool("check", "rules", *map(str, sorted(RULES.glob("*.yml"))))
    promtool("test", "rules", str(RULES.parents[1] / "tests" / "promql" / "alerts_test.yml"))
