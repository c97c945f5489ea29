"""What stands below the ranks: their functions, why it is judged so, how fast it goes, who leads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dsray_inspect.agent.model import Snapshot, Worker
from dsray_inspect.agent.stacks.memo import of_newest
from dsray_inspect.agent.text.humanize import compact, duration
from dsray_inspect.agent.text.report import controller_doing, driver_doing, facts_of
from dsray_inspect.agent.text.startup import parts
from dsray_inspect.agent.text.truncate import cut_end
from dsray_inspect.tui.rows import Part, Row, blank, row
from dsray_inspect.tui.throughput import chart, paces, step_s, top_step
from dsray_inspect.tui.widgets.bars import wrapped

TOP_FUNCTIONS = 4
MOST_WHY = 3
PACE_LOOKS = 20
STILL_S = 1.9


@of_newest
def functions(snapshot: Snapshot) -> list[Row]:
    """Return the functions that most ranks are in, with how long the longest has not moved."""
    counts: Counter[tuple[str, str, int]] = Counter()
    ranks_in: dict[tuple[str, str, int], list[Worker]] = {}

    for worker in snapshot.workers:
        if worker.function is not None:
            at = (worker.function.name, worker.function.file, worker.function.line)
            counts[at] += 1
            ranks_in.setdefault(at, []).append(worker)

    rows = []

    for number, (at, _) in enumerate(counts.most_common(TOP_FUNCTIONS)):
        workers = ranks_in[at]
        known = sorted(one.rank for one in workers if one.rank is not None)
        idle = max((one.idle_s for one in workers if one.idle_s is not None), default=None)
        where = f"{at[1].rpartition('/')[2]}:{at[2]}"
        who = f"rank{'s' if len(known) > 1 else ''} {compact(known)}"
        rows.append(
            row(
                f"function {at}",
                (f" {'functions' if not number else '':<11}", "dim"),
                (f"{at[0]:<22.22} ", "user"),
                (f"{where:<18.18} ", ""),
                (f"{who:<14.14} ", ""),
                ("" if idle is None else duration(idle), "dim"),
                target="view:functions",
            )
        )

    return rows


def why_rows(snapshot: Snapshot, width: int) -> list[Row]:
    """Return what the verdict rests on, and what to type."""
    finding = next((one for one in snapshot.findings if one.cause == snapshot.verdict.cause), None)

    if finding is None:
        return []

    rows: list[Row] = []

    for number, text in enumerate(finding.evidence[:MOST_WHY]):
        for line in wrapped(text, max(20, width - 14), 2):
            head = "" if rows else "because"
            key = f"because {number} {len(rows)}"
            rows.append(row(key, (f" {head:<11}", "dim"), (line, ""), target="view:findings"))

    rows.append(
        row(
            "next",
            (f" {'next':<11}", "dim"),
            (finding.next_step, "accent"),
            target="view:findings",
            copy=finding.next_step,
        )
    )
    return [*rows, blank()]


def engine_row(snapshot: Snapshot) -> list[Row]:
    engine = next((one.deepspeed for one in snapshot.workers if one.deepspeed), None)
    facts = " · ".join(facts_of(engine)[:4]) if engine else ""
    return [row("", (f" {'DeepSpeed':<11}", "dim"), (facts, ""))] if facts else []


def start_row(snapshot: Snapshot, width: int) -> list[Row]:
    """Return what the start took, where that is known."""
    if snapshot.startup is None:
        return []

    costs = {cost.name: cost for cost in snapshot.costs}
    text = cut_end(" · ".join(parts(snapshot.startup, costs)), max(20, width - 14))
    return [row("start-up", (f" {'start-up':<11}", "dim"), (text, ""), target="view:timeline")]


def people(snapshot: Snapshot) -> list[Row]:
    """Return where driver and controller are, and what they do."""
    names = {node.ip: node.hostname for node in snapshot.nodes}
    rows = []

    if snapshot.driver is not None:
        one = snapshot.driver
        doing = driver_doing(snapshot, one)
        rows.append(person("driver", names.get(one.node_ip, one.node_ip), one.pid, doing))

    if snapshot.controller is not None:
        other = snapshot.controller
        doing = controller_doing(snapshot, other)
        host = names.get(other.node_ip, other.node_ip)
        rows.append(person("controller", host, other.pid, doing))

    return rows


def person(role: str, host: str, pid: int, doing: str) -> Row:
    return row(
        role,
        (f" {role:<11}", "dim"),
        (f"{host} pid {pid}  ", "dim"),
        (doing, ""),
        target="view:stacks",
    )


def pace_rows(past: Sequence[Snapshot]) -> list[Row]:
    """Return the steps a second over the window, and what a step takes."""
    rates = paces(past)
    now = pace_text(past)

    def draw(width: int) -> list[Part]:
        bars = chart(rates, max(0, width - 12 - len(now) - 4))
        return [(f" {'steps/s':<11}", "dim"), (bars, "accent"), (f"  {now}", "")]

    return [Row("", draw)] if len(past) > 1 else []


def pace_text(past: Sequence[Snapshot]) -> str:
    """Return "48 ms a step", or since when none was made."""
    steps = [top_step(one) for one in past]
    moved = [n for n in range(1, len(past)) if steps[n] is not None and steps[n] != steps[n - 1]]

    if not moved:
        return f"no step in {duration(past[-1].taken_at - past[0].taken_at)}"

    last = moved[-1]
    usual = step_s(past[max(0, last - PACE_LOOKS) : last + 1])
    text = f"{duration(usual)} a step" if usual else "steps begin again"
    still_s = past[-1].taken_at - past[last].taken_at
    is_still = still_s > max(STILL_S, 5 * (usual or 0.0)) or past[-1].job.has_ended
    return f"{text} before, none for {duration(still_s)}" if is_still else text
