"""A trace in short: where the steps of each rank went, which rank is late, what never ended."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from dsray_inspect.agent.text.humanize import (
    agree,
    compact,
    duration,
    name_ranks,
    sentence,
    size,
)
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.table import table
from dsray_inspect.agent.text.truncate import cut_middle, wrap
from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.summary import RankSummary, Summary

_COLUMNS = {
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
_SHOWN = 32
_HEAD = 12
_MOST = 4
_HOST = 2


def trace_text(
    summary: Summary,
    notes: Sequence[str] = (),
    style: Style = PLAIN,
    *,
    past: bool = False,
    now_ns: int,
) -> str:
    """Return the summary of a trace as text."""
    lines = [style.paint(_headline(summary, past=past), "bold"), ""]
    lines += _ranks_table(summary)
    lines += [""]
    lines += _notable(summary, now_ns)

    for note in notes:
        lines += wrap("note".ljust(_HEAD), note.split(" "), " ")

    return "\n".join(lines).rstrip()


def _headline(summary: Summary, *, past: bool) -> str:
    """Return how much was seen, and how long a step takes."""
    ranks = summary.ranks
    steps = [rank for rank in ranks if rank.steps]
    who = name_ranks([rank.rank for rank in ranks])
    seconds = (summary.until_ns - summary.from_ns) / 1e9
    begin = f"the last {duration(seconds)}, from {clock(summary.from_ns)}"
    reach = begin if past else f"traced for {duration(seconds)}"
    who = sentence(who)

    if not summary.spans:
        return f"{who}: nothing was recorded."

    what = f"{who}, {reach}"

    if not steps:
        return f"{what}: no whole step."

    fewest, most = min(rank.steps for rank in steps), max(rank.steps for rank in steps)
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    median_ms = max(rank.median_ms or 0.0 for rank in steps)
    called = "steps, inferred from the collectives" if summary.inferred else "steps"
    first, last = steps[0].first_step, steps[0].last_step
    return f"{what}: {count} {called} (#{first} to #{last}), {_milliseconds(median_ms)} per step."


def clock(time_ns: int) -> str:
    local = datetime.datetime.fromtimestamp(time_ns / 1e9).astimezone()
    return local.strftime("%H:%M:%S")


def _milliseconds(value: float) -> str:
    return duration(value / 1000) if value >= 10 else f"{value:.1f} ms"


def _ranks_table(summary: Summary) -> list[str]:
    """Return one line per rank; of very many, those that cost most."""
    ranks = list(summary.ranks)

    if len(ranks) > _SHOWN:
        chosen = sorted(ranks, key=lambda rank: (rank.in_now is None, -rank.late_ms))[:_SHOWN]
        ranks = [rank for rank in ranks if rank in chosen]

    columns = [name for name in _COLUMNS if any(name in rank.phases_ms for rank in ranks)]
    heads = ["rank", "steps", "host", "a step", "longest"]
    heads += [*(_COLUMNS[name] for name in columns), "waits", "late"]
    rows = [_row(rank, columns) for rank in ranks]
    lines = table(heads, rows, cuts={_HOST: cut_middle}).splitlines()
    lines[0] += "   (ms a step)" if columns else ""
    hidden = len(summary.ranks) - len(ranks)
    return lines + ([f"and {hidden} more ranks (--json)"] if hidden else [])


def _row(summary: RankSummary, columns: Sequence[str]) -> list[str]:
    rank = str(summary.rank) if summary.rank is not None else "–"
    longest = (
        f"{_milliseconds(summary.longest_ms)} #{summary.longest_step}"
        if summary.longest_ms
        else "–"
    )
    return [
        rank.rjust(4),
        str(summary.steps).rjust(5),
        summary.hostname,
        _milliseconds(summary.median_ms).rjust(6)
        if summary.median_ms is not None
        else "–".rjust(6),
        longest,
        *(_number(summary.phases_ms.get(name)).rjust(len(_COLUMNS[name])) for name in columns),
        _number(summary.waits_ms).rjust(5),
        _number(summary.late_ms).rjust(4),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "–"

    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _notable(summary: Summary, now_ns: int) -> Iterator[str]:
    """Yield what is notable."""
    yield from _lateness(summary)

    if summary.change is not None:
        change = summary.change
        yield _line(
            "pace",
            f"from step #{change.step} on, at {clock(change.at_ns)}, a step takes "
            f"{_milliseconds(change.after_ms)}; before it was {_milliseconds(change.before_ms)}",
        )

    for stuck in summary.stuck[:_MOST]:
        what = f"{stuck.operation} #{stuck.sequence} (group {stuck.group})"
        age = duration(max(0, now_ns - stuck.since_ns) / 1e9)
        missing = f", {name_ranks(stuck.missing)} never did" if stuck.missing else ""
        step = f" of step #{stuck.step}" if stuck.step is not None else ""
        text = f"{what}{step}: {name_ranks(stuck.ranks)} entered it {age} ago{missing}"
        yield _line("not over", text)

    head = "collectives"

    for operation in summary.collectives[:_MOST]:
        each = f", {_milliseconds(operation.mean_ms)} each" if operation.mean_ms else ""
        what = f" {size(operation.size_bytes)}" if operation.size_bytes else ""
        of = f" of {operation.group_size}" if operation.group_size else ""
        yield _line(
            head,
            f"{operation.count} × {operation.operation}{what} {operation.dtype}, "
            f"group {operation.group}{of}{each}",
        )
        head = ""


def _lateness(summary: Summary) -> Iterator[str]:
    if summary.late_rank is not None:
        late = next(rank for rank in summary.ranks if rank.rank == summary.late_rank)
        part = f" ({late.late_ms / late.mean_ms:.0%} of it)" if late.mean_ms else ""
        others = agree(len(summary.ranks) - 1, "the other rank waits", "the others wait")
        yield _line(
            "late",
            f"rank {late.rank}: {others} {_milliseconds(late.late_ms)} per step for it{part}",
        )
    elif len(summary.ranks) > 1 and any(rank.steps and rank.waits_ms for rank in summary.ranks):
        most = max(summary.ranks, key=lambda rank: rank.late_ms)
        yield _line(
            "late",
            f"no rank in particular; rank {most.rank} most, {_number(most.late_ms)} ms per step",
        )

    inside: dict[str, list[int]] = {}

    for rank in summary.ranks:
        if rank.in_now is not None and rank.rank is not None:
            inside.setdefault(rank.in_now, []).append(rank.rank)

    if inside:
        places = [f"{name}: {compact(sorted(ranks))}" for name, ranks in inside.items()]
        yield _line("open", "at the end in " + " · ".join(places))


def _line(head: str, text: str) -> str:
    return f"{head:<{_HEAD}}{text}"
