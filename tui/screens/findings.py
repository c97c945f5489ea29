"""What is wrong, the evidence for it, and who waits for whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.model import OK, Finding, Snapshot
from dsray_inspect.agent.text.humanize import duration, name_ranks
from dsray_inspect.tui.drawing import wrapped
from dsray_inspect.tui.panels.wait_graph import wait_rows
from dsray_inspect.tui.rows import Row, StyleName, blank, heading, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.targets import RankTarget, Target, ViewName
from dsray_inspect.tui.view_state import ViewState

_HEAD: Final = 11
_APART_S: Final = 0.4
"""A verdict is compared with that of a snapshot which is at least this much older."""
_MAX_REASONS: Final = 24


class FindingsView(View):
    VIEW: ClassVar[ViewName | None] = "findings"

    def rows(self, snapshot: Snapshot, view_state: ViewState) -> list[Row]:
        width = self.size.width
        rows: list[Row] = []

        for number, finding in enumerate(snapshot.findings):
            rows += [*_finding_rows(finding, number, snapshot, width), blank()]

        if not snapshot.findings:
            rows += [row("", (" ● No findings in this snapshot.", "success")), blank()]

        rows += wait_rows(snapshot, width)
        rows += _impact_rows(explain(_compared(view_state.past) or (snapshot,)))
        rows += _evidence_rows(snapshot, width)
        return rows


def _compared(past: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Return the newest snapshot, after one that is old enough to compare it with."""
    if not past:
        return ()

    last = past[-1]
    older = next(
        (each for each in reversed(past) if last.taken_at - each.taken_at >= _APART_S), None
    )
    return (older, last) if older is not None else (last,)


def _fact_rows(
    key: str, head: str, text: str, width: int, *, style: StyleName = ""
) -> Iterator[Row]:
    """Yield a text at the right of its head, in as many lines as it needs."""
    for number, line in enumerate(wrapped(text, max(20, width - _HEAD - 5), 6)):
        yield row(
            f"{key} {number}",
            (f"   {'' if number else head:<{_HEAD}}", "dim"),
            (line, style),
            copy=text,
        )


def _finding_rows(finding: Finding, number: int, snapshot: Snapshot, width: int) -> Iterator[Row]:
    is_error = finding.severity == "error"
    style: StyleName = "error" if is_error else "warning"
    key = f"{finding.cause} {number}"
    head = row(
        key,
        (f" {'✗' if is_error else '!'} {finding.cause}", style),
        (f"   {name_ranks(finding.ranks)}" if finding.ranks else "", "bold"),
        target=_rank_target(finding.ranks, snapshot),
        copy=finding.summary,
    )
    yield head._replace(ranks=finding.ranks)
    yield from _fact_rows(f"{key} summary", "", finding.summary, width, style="bold")

    for n, text in enumerate(finding.evidence):
        yield from _fact_rows(f"{key} evidence {n}", "" if n else "because", text, width)

    yield from _fact_rows(f"{key} next", "next", finding.next_step, width, style="accent")


def _rank_target(ranks: Sequence[int], snapshot: Snapshot) -> Target:
    workers = (worker for worker in snapshot.workers if worker.rank in ranks)
    first = next(workers, None)
    return RankTarget(first.actor_id) if first is not None else None


def _impact_rows(explanation: Explanation) -> Iterator[Row]:
    """Yield how certain the verdict is, and what the wait costs."""
    if not explanation.verdict.ranks:
        return

    if explanation.sure != "not asked":
        text = f"{explanation.sure}: {explanation.sure_because}"
        yield row("sure", (f"   {'sure':<{_HEAD}}", "dim"), (text, ""))

    if explanation.lasts_s is not None:
        workers, left_s = explanation.snapshot.workers, explanation.gives_up_in_s
        gpus = sum(len(worker.gpus) for worker in workers)
        what = f"{gpus} GPUs" if gpus else f"{len(workers)} ranks"
        left = "" if left_s is None else f" · the group times out in {duration(max(0.0, left_s))}"
        text = f"{what} × {duration(explanation.lasts_s)}{left}"
        yield row("cost", (f"   {'cost':<{_HEAD}}", "dim"), (text, ""))

    yield blank()


def _evidence_rows(snapshot: Snapshot, width: int) -> Iterator[Row]:
    """Yield how many ranks were read, and what could not be read."""
    workers = snapshot.workers
    stacks = sum(worker.evidence.stack == OK for worker in workers)
    answers = sum(worker.evidence.worker == OK for worker in workers)
    yield heading("evidence")
    text = (
        f"{answers}/{len(workers)} ranks answered, {stacks}/{len(workers)} stacks, "
        f"taken in {duration(snapshot.took_s)}"
    )
    yield from _fact_rows("evidence", "sample", text, width)
    ranks_by_reason: dict[str, list[int | None]] = defaultdict(list)

    for worker in workers:
        for why in (worker.evidence.stack, worker.evidence.worker):
            if why != OK and worker.rank not in ranks_by_reason[why]:
                ranks_by_reason[why].append(worker.rank)

    for number, (why, ranks) in enumerate(list(ranks_by_reason.items())[:_MAX_REASONS]):
        text = f"{name_ranks(ranks)}: {why}"
        yield from _fact_rows(f"unseen {number}", "not seen", text, width, style="warning")

    for number, note in enumerate(snapshot.notes):
        yield from _fact_rows(f"note {number}", "note", note, width)
