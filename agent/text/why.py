"""`why` as text: at most ten lines, the answer first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsray_inspect.agent.explanation import Explanation, RankSummary
from dsray_inspect.agent.text.humanize import collective_name, duration, name_ranks
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.truncate import cut_middle

MOST = 3
HEAD = 10
HOST_WIDTH = 20


def why_text(told: Explanation, style: Style = PLAIN) -> str:
    """Return the account."""
    verdict = told.verdict
    headline = f"{style.state(verdict.state.upper(), verdict.state)}: {verdict.summary}"
    lines = list(body(told))
    return "\n".join([headline, *([""] if len(lines) > 2 else []), *lines])


def body(told: Explanation) -> Iterator[str]:
    if told.verdict.state in ("healthy", "starting", "finished") and told.verdict.cause is None:
        yield from where(told)
        return

    for culprit in told.culprits[:MOST]:
        yield line("culprit", place(culprit))

    if len(told.culprits) > MOST:
        yield line("", f"and {len(told.culprits) - MOST} more (--json)")

    yield from waiting(told.victims)
    yield from evidence(told)
    yield line("sure", f"{told.sure}: {told.sure_because}")
    yield from cost(told)

    if told.next_step:
        yield line("next", told.next_step)


def line(head: str, text: str) -> str:
    return f"  {head:<{HEAD}}{text}".rstrip()


def where(told: Explanation) -> Iterator[str]:
    hosts: dict[str, list[int | None]] = {}

    for worker in told.snapshot.workers:
        hosts.setdefault(worker.hostname or worker.node_ip, []).append(worker.rank)

    pace = f"{duration(told.step_s)} per step" if told.step_s else ""
    places = " · ".join(f"{host}: {name_ranks(ranks)}" for host, ranks in list(hosts.items())[:4])
    engine = next((one.deepspeed for one in told.snapshot.workers if one.deepspeed), None)
    facts = [places, pace, f"ZeRO-{engine.zero_stage}, {engine.dtype}" if engine else ""]

    if any(facts):
        yield line("where", " · ".join(fact for fact in facts if fact))


def place(one: RankSummary) -> str:
    gpus = f"GPU {','.join(map(str, one.gpus))}  " if one.gpus else ""
    function = one.function
    file = function.file.rpartition("/")[2] if function else ""
    code = f"  {function.name}  {file}:{function.line}" if function else f"  {one.phase}"
    host = cut_middle(one.hostname, HOST_WIDTH)
    return f"{name_ranks([one.rank])}  {host}  {gpus}pid {one.pid}{code}"


def waiting(victims: Sequence[RankSummary]) -> Iterator[str]:
    """One line for all that wait in one collective."""
    by_collective: dict[str, list[RankSummary]] = {}

    for one in victims:
        if one.collective is not None:
            name = f"{collective_name(one.collective)}, {one.phase}"
            by_collective.setdefault(name, []).append(one)

    for name, parties in list(by_collective.items())[:2]:
        longest = max(one.collective.age_s for one in parties if one.collective is not None)
        ranks = name_ranks([one.rank for one in parties])
        yield line("waits", f"{ranks}  in {name}, for {duration(longest)}")


def evidence(told: Explanation) -> Iterator[str]:
    finding = next((one for one in told.findings if one.cause == told.verdict.cause), None)
    head = "because"

    for text in (finding.evidence if finding else ())[:3]:
        yield line(head, text)
        head = ""


def cost(told: Explanation) -> Iterator[str]:
    if told.lasts_s is None:
        return

    workers = told.snapshot.workers
    gpus = sum(len(worker.gpus) for worker in workers)
    what = f"{gpus} GPUs" if gpus else f"{len(workers)} ranks"
    text = f"{what} × {duration(told.lasts_s)}"

    if told.gives_up_in_s is not None:
        left = duration(max(0.0, told.gives_up_in_s))
        text += f" · the group gives up in {left}"

    yield line("cost", text)
