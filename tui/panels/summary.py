"""The lines below the ranks: functions, reasons of the verdict, throughput, driver and controller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from dsray_inspect.agent.model import Snapshot, Worker
from dsray_inspect.agent.text.humanize import duration, name_ranks
from dsray_inspect.agent.text.report import controller_doing, driver_doing, facts_of
from dsray_inspect.agent.text.startup import parts
from dsray_inspect.agent.text.truncate import cut_end
from dsray_inspect.tui.drawing import wrapped
from dsray_inspect.tui.memo import cache_latest
from dsray_inspect.tui.rows import Part, Row, blank, row
from dsray_inspect.tui.targets import ViewTarget
from dsray_inspect.tui.throughput import chart, step_rates, step_s, top_step

_MAX_FUNCTIONS: Final = 4
_MAX_REASONS: Final = 3
_RATE_SNAPSHOTS: Final = 20
"""Snapshots over which the time of a step is averaged."""
_NO_STEP_S: Final = 1.9
"""A run without a step for this long is shown as one that makes none."""


def _head(text: str) -> Part:
    return (f" {text:<11}", "dim")


@cache_latest
def function_rows(snapshot: Snapshot) -> list[Row]:
    """Return the functions that most ranks are in, with the longest idle time."""
    ranks_in: dict[tuple[str, str, int], list[Worker]] = {}

    for worker in snapshot.workers:
        if worker.function is not None:
            place = (worker.function.name, worker.function.file, worker.function.line)
            ranks_in.setdefault(place, []).append(worker)

    counts = Counter({place: len(workers) for place, workers in ranks_in.items()})
    rows = []

    for number, (place, _) in enumerate(counts.most_common(_MAX_FUNCTIONS)):
        name, file, line = place
        workers = ranks_in[place]
        ranks = name_ranks([worker.rank for worker in workers if worker.rank is not None])
        idle_s = max(
            (worker.idle_s for worker in workers if worker.idle_s is not None), default=None
        )
        where = f"{file.rpartition('/')[2]}:{line}"
        rows.append(
            row(
                f"function {place}",
                _head("" if number else "functions"),
                (f"{name:<22.22} ", "user"),
                (f"{where:<18.18} ", ""),
                (f"{ranks:<14.14} ", ""),
                ("" if idle_s is None else duration(idle_s), "dim"),
                target=ViewTarget("functions"),
            )
        )

    return rows


def reason_rows(snapshot: Snapshot, width: int) -> list[Row]:
    """Return the evidence of the verdict, and what to type next."""
    verdict, target = snapshot.verdict, ViewTarget("findings")
    finding = next((each for each in snapshot.findings if each.cause == verdict.cause), None)

    if finding is None:
        return []

    rows: list[Row] = []

    for number, text in enumerate(finding.evidence[:_MAX_REASONS]):
        for line in wrapped(text, max(20, width - 14), 2):
            head = _head("" if rows else "because")
            rows.append(row(f"because {number} {len(rows)}", head, (line, ""), target=target))

    command = finding.next_step
    rows.append(row("next", _head("next"), (command, "accent"), target=target, copy=command))
    return [*rows, blank()]


def deepspeed_rows(snapshot: Snapshot) -> list[Row]:
    engine = next((worker.deepspeed for worker in snapshot.workers if worker.deepspeed), None)
    facts = " · ".join(facts_of(engine)[:4]) if engine else ""
    return [row("", _head("DeepSpeed"), (facts, ""))] if facts else []


def startup_row(snapshot: Snapshot, width: int) -> list[Row]:
    """Return how long the start-up took, if that is known."""
    if snapshot.startup is None:
        return []

    costs = {cost.name: cost for cost in snapshot.costs}
    text = cut_end(" · ".join(parts(snapshot.startup, costs)), max(20, width - 14))
    return [row("start-up", _head("start-up"), (text, ""), target=ViewTarget("timeline"))]


def process_rows(snapshot: Snapshot) -> list[Row]:
    """Return where the driver and the controller run, and what they do."""
    hosts = {node.ip: node.hostname for node in snapshot.nodes}
    driver, controller = snapshot.driver, snapshot.controller
    rows = []

    if driver is not None:
        host = hosts.get(driver.node_ip, driver.node_ip)
        rows.append(_process_row("driver", host, driver.pid, driver_doing(snapshot, driver)))

    if controller is not None:
        host = hosts.get(controller.node_ip, controller.node_ip)
        doing = controller_doing(controller)
        rows.append(_process_row("controller", host, controller.pid, doing))

    return rows


def _process_row(role: str, host: str, pid: int, doing: str) -> Row:
    where: Part = (f"{host} pid {pid}  ", "dim")
    return row(role, _head(role), where, (doing, ""), target=ViewTarget("stacks"))


def throughput_rows(past: Sequence[Snapshot]) -> list[Row]:
    """Return a chart of the steps per second over the window, and the time of a step."""
    if len(past) < 2:
        return []

    rates = step_rates(past)
    now = _step_text(past)

    def draw(width: int) -> list[Part]:
        bars = chart(rates, max(0, width - 12 - len(now) - 4))
        return [_head("steps/s"), (bars, "accent"), (f"  {now}", "")]

    return [Row("", draw)]


def _step_text(past: Sequence[Snapshot]) -> str:
    """Return "48 ms per step", or for how long there has been no step."""
    steps = [top_step(snapshot) for snapshot in past]
    changes = [n for n in range(1, len(past)) if steps[n] is not None and steps[n] != steps[n - 1]]

    if not changes:
        return f"no step in {duration(past[-1].taken_at - past[0].taken_at)}"

    last = changes[-1]
    usual_s = step_s(past[max(0, last - _RATE_SNAPSHOTS) : last + 1])
    text = f"{duration(usual_s)} per step" if usual_s else "steps start over"
    since_s = past[-1].taken_at - past[last].taken_at
    has_stopped = since_s > max(_NO_STEP_S, 5 * (usual_s or 0.0)) or past[-1].job.has_ended
    return f"{text} before, none for {duration(since_s)}" if has_stopped else text
