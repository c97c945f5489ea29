"""PromQL shared by several panels: selectors by variable, codes of states, joins.

Runs of two clusters may have the same id (a job's id, if Ray Train never reported its own), so every
selection and join includes the cluster label. If it is not set, it is empty on both sides and matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dsray_inspect.dashboards.model import Variable

CLUSTER: Final = 'ray_io_cluster=~"$cluster"'
RUN: Final = f'{CLUSTER}, run_id=~"$run"'
RANK: Final = f'{RUN}, rank=~"$rank"'
NODE: Final = f'{CLUSTER}, node=~"$node"'
BY_RUN: Final = "ray_io_cluster, run_id"
BY_RANK: Final = f"{BY_RUN}, rank"
_ATTEMPT: Final = f'and on ({BY_RUN}) dsray_run_info{{{RUN}, attempt_id=~"$attempt"}}'
"""Restricts a query to the time of the selected attempts."""

CLUSTERS = Variable(
    name="cluster", label="Cluster", query="label_values(dsray_build_info, ray_io_cluster)"
)
RUNS = Variable(
    name="run",
    label="Run",
    query=f"label_values(dsray_run_info{{{CLUSTER}}}, run_id)",
    has_all=False,
)
ATTEMPTS = Variable(
    name="attempt", label="Attempt", query=f"label_values(dsray_run_info{{{RUN}}}, attempt_id)"
)
RANKS = Variable(
    name="rank", label="Rank", query=f"label_values(dsray_rank_info{{{RUN}}}, rank)", multi=True
)
NODES = Variable(
    name="node",
    label="Node",
    query=f"label_values(dsray_node_alive{{{CLUSTER}}}, node)",
    multi=True,
)


def during(expr: str) -> str:
    """Restrict a query over series of a run to the selected attempts."""
    return f"({expr}) {_ATTEMPT}"


def coded(metric: str, label: str, values: Sequence[str], *, select: str, by: str) -> str:
    """Return a query whose value is the position, from 1, of the state whose series is 1."""
    each = " or ".join(
        f'{number} * {metric}{{{select}, {label}="{value}"}}'
        for number, value in enumerate(values, 1)
    )
    return f"max by ({by}) ({each})"


def names(values: Sequence[str], colors: dict[str, str]) -> dict[str, str]:
    """Return the meanings of the codes of `coded`, with their colours."""
    return {
        str(number): f"{value}|{colors.get(value, 'blue')}"
        for number, value in enumerate(values, 1)
    }


def with_place(expr: str, *labels: str) -> str:
    """Add labels about where each rank runs; a replaced process of the rank does not count twice."""
    places = f"max by ({BY_RANK}, {', '.join(labels)}) (dsray_rank_info{{{RANK}}})"
    newest = f"topk by ({BY_RANK}) (1, {places})"
    return f"({expr}) * on ({BY_RANK}) group_left ({', '.join(labels)}) {newest}"


def or_none(expr: str, label: str) -> str:
    """Return a query that gives `none` with value 0 if it is empty, to distinguish that from no data."""
    empty = f'label_replace(0 * sum(dsray_run_ranks{{{RUN}}}), "{label}", "none", "", "")'
    return f"({expr}) or on () {empty}"
