"""The PromQL that several panels share: selections by variable, codes of states, joins.

Series of two clusters may have one run id (a job's, where Ray Train never told its own), so
everything is told apart and joined by the cluster's label too; where none is set it is empty
on both sides, and matches.
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
ATTEMPT: Final = f'and on ({BY_RUN}) dsray_run_info{{{RUN}, attempt_id=~"$attempt"}}'
"""Leaves only the time of the attempts that are chosen."""

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
    """Return a query over series of a run, for the chosen attempts."""
    return f"({expr}) {ATTEMPT}"


def coded(metric: str, label: str, values: Sequence[str], *, select: str, by: str) -> str:
    """Return a query whose value is the number of the state that is 1, from 1 on."""
    each = " or ".join(
        f'{number} * {metric}{{{select}, {label}="{value}"}}'
        for number, value in enumerate(values, 1)
    )
    return f"max by ({by}) ({each})"


def names(values: Sequence[str], colors: dict[str, str]) -> dict[str, str]:
    """Return what the codes of `coded` stand for, with their colours."""
    return {
        str(number): f"{value}|{colors.get(value, 'blue')}"
        for number, value in enumerate(values, 1)
    }


def placed(expr: str, *labels: str) -> str:
    """Return series of ranks with where each rank runs, whatever its processes were before."""
    found = f"max by ({BY_RANK}, {', '.join(labels)}) (dsray_rank_info{{{RANK}}})"
    one = f"topk by ({BY_RANK}) (1, {found})"
    return f"({expr}) * on ({BY_RANK}) group_left ({', '.join(labels)}) {one}"


def or_none(expr: str, label: str) -> str:
    """Return a query that says `none` with 0 where there is nothing, to tell it from no data."""
    nothing = f'label_replace(0 * sum(dsray_run_ranks{{{RUN}}}), "{label}", "none", "", "")'
    return f"({expr}) or on () {nothing}"
