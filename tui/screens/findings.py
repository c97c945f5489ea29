"""What is wrong, what it rests on, and who waits for whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import ClassVar

from dsray_inspect.agent.explanation import Explanation, explain
from dsray_inspect.agent.model import Finding, Snapshot
from dsray_inspect.agent.text.graph import merged
from dsray_inspect.agent.text.humanize import compact, duration, name_ranks
from dsray_inspect.agent.text.why import place
from dsray_inspect.tui.rows import Look, Part, Row, blank, heading, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.view_state import ViewState
from dsray_inspect.tui.widgets.bars import wrapped

HEAD = 11
APART_S = 0.4
MOST = 24


class FindingsView(View):
    VIEW: ClassVar[str] = "findings"

    def rows(self, snapshot: Snapshot, story: ViewState) -> list[Row]:
        return findings(snapshot, story.past, self.size.width)


def findings(snapshot: Snapshot, past: Sequence[Snapshot], width: int) -> list[Row]:
    """Return the rows of the whole view."""
    told = explain(two_looks(past) or (snapshot,))
    rows: list[Row] = []

    for number, finding in enumerate(snapshot.findings):
        rows += [*finding_rows(finding, number, snapshot, width), blank()]

    if not snapshot.findings:
        rows += [row("", (" ● No finding in this look.", "success")), blank()]

    rows += list(wait_graph(snapshot, width) if snapshot.graph.edges else graph(told))
    rows += list(cost(told))
    rows += list(seen(snapshot, width))
    return rows


def two_looks(past: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Return the newest look and one that is old enough to compare it with."""
    if not past:
        return ()

    last = past[-1]
    older = next((one for one in reversed(past) if last.taken_at - one.taken_at >= APART_S), None)
    return (older, last) if older is not None else (last,)


def fact(
    key: str, head: str, text: str, width: int, *, look: Look = "", target: str = "", copy: str = ""
) -> Iterator[Row]:
    """Yield a text under its head, over as many lines as it needs."""
    for number, line in enumerate(wrapped(text, max(20, width - HEAD - 5), 6)):
        yield row(
            f"{key} {number}",
            (f"   {head if not number else '':<{HEAD}}", "dim"),
            (line, look),
            target=target,
            copy=copy or text,
        )


def finding_rows(finding: Finding, number: int, snapshot: Snapshot, width: int) -> list[Row]:
    is_error = finding.severity == "error"
    look: Look = "error" if is_error else "warning"
    key = f"{finding.cause} {number}"
    rows = [
        row(
            key,
            (f" {'✗' if is_error else '!'} {finding.cause}", look),
            (f"   {name_ranks(finding.ranks)}" if finding.ranks else "", "bold"),
            target=rank_target(finding.ranks, snapshot),
            copy=finding.summary,
        )
    ]
    rows += fact(f"{key} summary", "", finding.summary, width, look="bold")

    for n, text in enumerate(finding.evidence):
        rows += fact(f"{key} evidence {n}", "because" if not n else "", text, width)

    return [
        *rows,
        *fact(
            f"{key} next", "next", finding.next_step, width, look="accent", copy=finding.next_step
        ),
    ]


def rank_target(ranks: Sequence[int], snapshot: Snapshot) -> str:
    actor = next((one.actor_id for one in snapshot.workers if one.rank in ranks), None)
    return f"rank:{actor}" if actor is not None else ""


def wait_graph(snapshot: Snapshot, width: int) -> Iterator[Row]:
    """Yield each wait once with what it rests on, then what is waited for and waits for nothing."""
    yield heading("who waits for what")
    actor_of = {f"rank {one.rank}": one.actor_id for one in snapshot.workers}
    details = {node.name: node.detail for node in snapshot.graph.nodes}
    waits = list(merged(snapshot.graph.edges).items())

    for number, ((waiters, awaited, because), evidence) in enumerate(waits[:MOST]):
        actor = actor_of.get(awaited)
        yield row(
            f"wait {number}",
            ("   ○ ", "warning"),
            (f"{waiters} ", "bold"),
            ("──▶ ", ""),
            (awaited, "error" if awaited in snapshot.graph.roots else "bold"),
            (f"   {because}", "collective"),
            target=f"rank:{actor}" if actor else "",
        )

        for line, text in enumerate(wrapped(evidence, max(20, width - 10), 3)):
            yield row(f"wait {number} evidence {line}", (f"       {text}", "dim"))

    if len(waits) > MOST:
        yield row("more waits", (f"   … and {len(waits) - MOST} more (--json has all)", "dim"))

    for root in snapshot.graph.roots[:MOST]:
        actor = actor_of.get(root)
        detail = details.get(root, "")
        yield row(
            f"root {root}",
            ("   ✗ ", "error"),
            (root, "error"),
            (f"   waits for nothing that was seen{f': {detail}' if detail else ''}", ""),
            target=f"rank:{actor}" if actor else "",
        )

    yield blank()


def graph(told: Explanation) -> Iterator[Row]:
    """Yield the wait-for graph: those that wait in one collective at the left, whom they await at the right."""
    if not told.waits_for:
        return

    yield heading("who waits for whom")
    sides: dict[tuple[int, str], list[int]] = defaultdict(list)

    for edge in told.waits_for:
        sides[edge.awaited, edge.because].append(edge.waiter)

    by_rank = {party.rank: party for party in told.culprits}
    actor_of = {one.rank: one.actor_id for one in told.snapshot.workers}

    for (awaited, because), waiters in sorted(sides.items()):
        yield from waits_rows(awaited, because, sorted(waiters), actor_of)
        party = by_rank.get(awaited)

        if party is not None:
            yield row(
                f"place {awaited}",
                (f"   {'':<{HEAD}}", ""),
                (place(party), "dim"),
                target=f"rank:{actor_of.get(awaited, '')}",
            )

    yield blank()


def waits_rows(
    awaited: int, because: str, waiters: list[int], actor_of: dict[int | None, str]
) -> Iterator[Row]:
    """Yield lines whose ends join into an arrow; many waiters are one line."""
    shown = (
        [f"rank {one}" for one in waiters] if len(waiters) <= 8 else [f"ranks {compact(waiters)}"]
    )
    width = min(24, max(len(one) for one in shown))
    middle = len(shown) // 2

    for number, name in enumerate(shown):
        joint = (
            "─"
            if len(shown) == 1
            else "┐"
            if not number
            else "┘"
            if number == len(shown) - 1
            else "┤"
        )
        parts: list[Part] = [("   ○ ", "warning"), (f"{name:<{width}.{width}} ─{joint}", "")]

        if number == middle:
            joint = {"─": "─", "┘": "┴", "┤": "┼", "┐": "┬"}[joint]
            parts = [
                parts[0],
                (f"{name:<{width}.{width}} ─{joint}", ""),
                (f"─ {because} ", "collective"),
                ("──▶ ", ""),
                (f"✗ rank {awaited}", "error"),
            ]

        actor = actor_of.get(awaited, "")
        yield row(
            f"wait {awaited} {because} {number}", *parts, target=f"rank:{actor}" if actor else ""
        )


def cost(told: Explanation) -> Iterator[Row]:
    """Yield how sure this is, and what it costs."""
    if not told.verdict.ranks:
        return

    if told.sure != "not asked":
        yield row(
            "sure", (f"   {'sure':<{HEAD}}", "dim"), (f"{told.sure}: {told.sure_because}", "")
        )

    if told.lasts_s is not None:
        gpus = sum(len(one.gpus) for one in told.snapshot.workers)
        what = f"{gpus} GPUs" if gpus else f"{len(told.snapshot.workers)} ranks"
        left = (
            ""
            if told.gives_up_in_s is None
            else f" · the group gives up in {duration(max(0.0, told.gives_up_in_s))}"
        )
        yield row(
            "cost",
            (f"   {'cost':<{HEAD}}", "dim"),
            (f"{what} × {duration(told.lasts_s)}{left}", ""),
        )

    yield blank()


def seen(snapshot: Snapshot, width: int) -> Iterator[Row]:
    """Yield what this rests on: who answered, and what could not be seen."""
    workers = snapshot.workers
    stacks = sum(one.evidence.stack == "ok" for one in workers)
    calls = sum(one.evidence.worker == "ok" for one in workers)
    yield heading("evidence")
    text = f"{calls}/{len(workers)} ranks answered, {stacks}/{len(workers)} stacks, taken in {duration(snapshot.took_s)}"
    yield from fact("evidence", "this look", text, width)
    whys: dict[str, list[int | None]] = defaultdict(list)

    for worker in workers:
        for rung in (worker.evidence.stack, worker.evidence.worker):
            if rung != "ok" and worker.rank not in whys[rung]:
                whys[rung].append(worker.rank)

    for number, (why, ranks) in enumerate(list(whys.items())[:MOST]):
        yield from fact(
            f"unseen {number}", "not seen", f"{name_ranks(ranks)}: {why}", width, look="warning"
        )

    for number, note in enumerate(snapshot.notes):
        yield from fact(f"note {number}", "note", note, width)
