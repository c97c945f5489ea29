"""A trace in short: per rank where its steps went, who is late, what never ended."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from dsray_inspect.agent.text.humanize import compact, duration, name_ranks, size
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.table import table
from dsray_inspect.agent.text.truncate import cut_middle, wrap
from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.summary import RankSummary, Summary

COLUMNS = {
    names.DATA: "data",
    names.FORWARD: "forward",
    names.ZERO_GATHER: "gather",
    names.BACKWARD: "backward",
    names.ZERO_PARTITION: "partition",
    names.GRAD_REDUCE: "reduce",
    names.OPTIMIZER_STEP: "optimizer",
    names.TRAIN_BATCH: "train_batch",
    names.EVAL_BATCH: "eval_batch",
    names.SAVE_CHECKPOINT: "save",
    names.LOAD_CHECKPOINT: "load",
    names.REPORT: "report",
    names.RAY_GET: "ray.get",
    names.RAY_PUT: "ray.put",
    names.USER: "user",
}
"""Phases by the heads of their columns, in their order."""
SHOWN = 32
HEAD = 12
MOST = 4
HOST = 2


def trace_text(
    summary: Summary,
    notes: Sequence[str] = (),
    style: Style = PLAIN,
    *,
    past: bool = False,
    now_ns: int,
) -> str:
    """Return the account of a trace."""
    lines = [style.paint(headline(summary, past=past), "bold"), ""]
    lines += ranks_table(summary)
    lines += [""]
    lines += told(summary, now_ns)

    for note in notes:
        lines += wrap("note".ljust(HEAD), note.split(" "), " ")

    return "\n".join(lines).rstrip()


def headline(summary: Summary, *, past: bool) -> str:
    """Return how much was seen, and how long a step takes."""
    ranks = summary.ranks
    steps = [one for one in ranks if one.steps]
    who = name_ranks([one.rank for one in ranks])
    seconds = (summary.until_ns - summary.from_ns) / 1e9
    begin = f"the last {duration(seconds)}, from {clock(summary.from_ns)}"
    reach = begin if past else f"traced for {duration(seconds)}"
    who = f"{who[0].upper()}{who[1:]}"

    if not summary.spans:
        return f"{who}: nothing is recorded."

    what = f"{who}, {reach}"

    if not steps:
        return f"{what}: no whole step."

    fewest, most = min(one.steps for one in steps), max(one.steps for one in steps)
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    median_ms = max(one.median_ms or 0.0 for one in steps)
    called = "steps, told from the collectives" if summary.inferred else "steps"
    first, last = steps[0].first_step, steps[0].last_step
    return f"{what}: {count} {called} (#{first} to #{last}), {milliseconds(median_ms)} a step."


def clock(time_ns: int) -> str:
    local = datetime.datetime.fromtimestamp(time_ns / 1e9).astimezone()
    return local.strftime("%H:%M:%S")


def milliseconds(value: float) -> str:
    return duration(value / 1000) if value >= 10 else f"{value:.1f} ms"


def ranks_table(summary: Summary) -> list[str]:
    """Return one line a rank; of very many, those that cost most."""
    ranks = list(summary.ranks)

    if len(ranks) > SHOWN:
        chosen = sorted(ranks, key=lambda one: (one.in_now is None, -one.late_ms))[:SHOWN]
        ranks = [one for one in ranks if one in chosen]

    columns = [name for name in COLUMNS if any(name in one.phases_ms for one in ranks)]
    heads = ["rank", "steps", "host", "a step", "longest"]
    heads += [*(COLUMNS[name] for name in columns), "waits", "late"]
    rows = [row(one, columns) for one in ranks]
    lines = table(heads, rows, cuts={HOST: cut_middle}).splitlines()
    lines[0] += "   (ms a step)" if columns else ""
    hidden = len(summary.ranks) - len(ranks)
    return lines + ([f"and {hidden} ranks more (--json)"] if hidden else [])


def row(one: RankSummary, columns: Sequence[str]) -> list[str]:
    rank = str(one.rank) if one.rank is not None else "–"
    longest = f"{milliseconds(one.longest_ms)} #{one.longest_step}" if one.longest_ms else "–"
    return [
        rank.rjust(4),
        str(one.steps).rjust(5),
        one.hostname,
        milliseconds(one.median_ms).rjust(6) if one.median_ms is not None else "–".rjust(6),
        longest,
        *(number(one.phases_ms.get(name)).rjust(len(COLUMNS[name])) for name in columns),
        number(one.waits_ms).rjust(5),
        number(one.late_ms).rjust(4),
    ]


def number(value: float | None) -> str:
    if value is None:
        return "–"

    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def told(summary: Summary, now_ns: int) -> Iterator[str]:
    """Yield what stands out."""
    yield from lateness(summary)

    if summary.change is not None:
        change = summary.change
        yield line(
            "pace",
            f"from step #{change.step} on, at {clock(change.at_ns)}, a step takes "
            f"{milliseconds(change.after_ms)}; before it was {milliseconds(change.before_ms)}",
        )

    for one in summary.stuck[:MOST]:
        what = f"{one.operation} #{one.sequence} (group {one.group})"
        age = duration(max(0, now_ns - one.since_ns) / 1e9)
        missing = f", {name_ranks(one.missing)} never did" if one.missing else ""
        step = f" of step #{one.step}" if one.step is not None else ""
        text = f"{what}{step}: {name_ranks(one.ranks)} entered it {age} ago{missing}"
        yield line("not over", text)

    head = "collectives"

    for operation in summary.collectives[:MOST]:
        each = f", {milliseconds(operation.mean_ms)} each" if operation.mean_ms else ""
        what = f" {size(operation.size_bytes)}" if operation.size_bytes else ""
        of = f" of {operation.group_size}" if operation.group_size else ""
        yield line(
            head,
            f"{operation.count} × {operation.operation}{what} {operation.dtype}, "
            f"group {operation.group}{of}{each}",
        )
        head = ""


def lateness(summary: Summary) -> Iterator[str]:
    if summary.late_rank is not None:
        one = next(one for one in summary.ranks if one.rank == summary.late_rank)
        part = f" ({one.late_ms / one.mean_ms:.0%} of it)" if one.mean_ms else ""
        others = "the other waits" if len(summary.ranks) == 2 else "the others wait"
        yield line(
            "late",
            f"rank {one.rank}: {others} for it {milliseconds(one.late_ms)} a step{part}",
        )
    elif len(summary.ranks) > 1 and any(one.steps and one.waits_ms for one in summary.ranks):
        most = max(summary.ranks, key=lambda one: one.late_ms)
        yield line(
            "late",
            f"nobody in particular; most is rank {most.rank}, {number(most.late_ms)} ms a step",
        )

    inside: dict[str, list[int]] = {}

    for one in summary.ranks:
        if one.in_now is not None and one.rank is not None:
            inside.setdefault(one.in_now, []).append(one.rank)

    if inside:
        places = [f"{name}: {compact(sorted(ranks))}" for name, ranks in inside.items()]
        yield line("open", "at the end in " + " · ".join(places))


def line(head: str, text: str) -> str:
    return f"{head:<{HEAD}}{text}"
