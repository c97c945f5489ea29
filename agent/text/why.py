"""`why` as text: at most ten lines, the answer first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsray_inspect.agent.explanation import Explanation, RankSummary
from dsray_inspect.agent.text.humanize import collective_name, duration, name_ranks
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.truncate import cut_middle

MOST_CULPRITS = 3
MOST_COLLECTIVES = 2
MOST_EVIDENCE = 3
MOST_NOTES = 2
HEAD = 10
HOST_WIDTH = 20

Fact = tuple[str, str]
"""A head, empty where it is that of the fact before, and what stands beside it."""


def why_text(explanation: Explanation, style: Style = PLAIN) -> str:
    """Return the explanation as text."""
    verdict = explanation.verdict
    headline = f"{style.state(verdict.state.upper(), verdict.state)}: {verdict.summary}"
    lines = [_line(*fact) for fact in facts(explanation)]
    return "\n".join([headline, *([""] if len(lines) > 2 else []), *lines])


def facts(explanation: Explanation) -> Iterator[Fact]:
    """Yield what is below the headline."""
    if (
        explanation.verdict.state in ("healthy", "starting", "finished")
        and explanation.verdict.cause is None
    ):
        yield from _where(explanation)
        yield from _notes(explanation)
        return

    for culprit in explanation.culprits[:MOST_CULPRITS]:
        yield "culprit", place(culprit)

    if len(explanation.culprits) > MOST_CULPRITS:
        yield "", f"and {len(explanation.culprits) - MOST_CULPRITS} more (--json)"

    yield from _waiting(explanation.victims)
    yield from _evidence(explanation)
    yield "sure", f"{explanation.sure}: {explanation.sure_because}"
    yield from _cost(explanation)

    if explanation.next_step:
        yield "next", explanation.next_step

    yield from _notes(explanation)


def _notes(explanation: Explanation) -> Iterator[Fact]:
    yield from (("note", note) for note in explanation.snapshot.notes[:MOST_NOTES])


def _line(head: str, text: str) -> str:
    return f"  {head:<{HEAD}}{text}".rstrip()


def _where(explanation: Explanation) -> Iterator[Fact]:
    hosts: dict[str, list[int | None]] = {}

    for worker in explanation.snapshot.workers:
        hosts.setdefault(worker.hostname or worker.node_ip, []).append(worker.rank)

    pace = f"{duration(explanation.step_s)} per step" if explanation.step_s else ""
    places = " · ".join(f"{host}: {name_ranks(ranks)}" for host, ranks in list(hosts.items())[:4])
    engine = next(
        (worker.deepspeed for worker in explanation.snapshot.workers if worker.deepspeed), None
    )
    parts = [places, pace, f"ZeRO-{engine.zero_stage}, {engine.dtype}" if engine else ""]

    if any(parts):
        yield "where", " · ".join(part for part in parts if part)


def place(culprit: RankSummary) -> str:
    gpus = f"GPU {','.join(map(str, culprit.gpus))}  " if culprit.gpus else ""
    function = culprit.function
    file = function.file.rpartition("/")[2] if function else ""
    code = f"  {function.name}  {file}:{function.line}" if function else f"  {culprit.phase}"
    host = cut_middle(culprit.hostname, HOST_WIDTH)
    return f"{name_ranks([culprit.rank])}  {host}  {gpus}pid {culprit.pid}{code}"


def _waiting(victims: Sequence[RankSummary]) -> Iterator[Fact]:
    """Yield one line for all ranks that wait in one collective."""
    by_collective: dict[str, list[RankSummary]] = {}

    for victim in victims:
        if victim.collective is not None:
            name = f"{collective_name(victim.collective)}, {victim.phase}"
            by_collective.setdefault(name, []).append(victim)

    for name, waiters in list(by_collective.items())[:MOST_COLLECTIVES]:
        longest = max(waiter.collective.age_s for waiter in waiters if waiter.collective)
        ranks = name_ranks([waiter.rank for waiter in waiters])
        yield "waits", f"{ranks}  in {name}, for {duration(longest)}"


def _evidence(explanation: Explanation) -> Iterator[Fact]:
    finding = next(
        (found for found in explanation.findings if found.cause == explanation.verdict.cause), None
    )
    head = "because"

    for text in (finding.evidence if finding else ())[:MOST_EVIDENCE]:
        yield head, text
        head = ""


def _cost(explanation: Explanation) -> Iterator[Fact]:
    if explanation.lasts_s is None:
        return

    workers = explanation.snapshot.workers
    gpus = sum(len(worker.gpus) for worker in workers)
    what = f"{gpus} GPUs" if gpus else f"{len(workers)} ranks"
    text = f"{what} × {duration(explanation.lasts_s)}"

    if explanation.gives_up_in_s is not None:
        left = duration(max(0.0, explanation.gives_up_in_s))
        text += f" · the group gives up in {left}"

    yield "cost", text
