"""`evidence`: all that is known of one part of a sample, item by item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import msgspec

from dsray_inspect.agent.causes import spec_of
from dsray_inspect.agent.errors import TargetNotFound
from dsray_inspect.agent.mcp.answers.env import all_differences
from dsray_inspect.agent.mcp.answers.rank_notes import in_collective, place_in_code
from dsray_inspect.agent.mcp.answers.stacks import frame_lines
from dsray_inspect.agent.mcp.documents import EvidenceAnswer
from dsray_inspect.agent.mcp.ids import PARTS, PartId
from dsray_inspect.agent.mcp.job_text import LINE, NAME, NOTICE, VALUE, clean
from dsray_inspect.agent.mcp.notes import Item, Texts
from dsray_inspect.agent.mcp.room import Room
from dsray_inspect.agent.mcp.sample import Sample, head_of, rank_ranges, seconds
from dsray_inspect.agent.model import OK, Worker

_MOST_ITEMS: Final = 20_000


def evidence_answer(
    sample: Sample, part: PartId, tokens: int, now: float, *, skip: int = 0
) -> EvidenceAnswer:
    """Return the items of a part from `skip` on.

    Raises:
        TargetNotFound: The sample has no such part.
    """
    id = sample.id_of(part.kind, part.number) if part.kind else sample.id

    try:
        items = list(islice(_ITEMS[part.kind](sample, part.number), _MOST_ITEMS))
    except IndexError:
        raise TargetNotFound(
            f"{sample.id} has no {PARTS[part.kind]} {part.number}.",
            help_text="Give an id as another answer has it.",
        ) from None

    answer = EvidenceAnswer(notice=NOTICE, id=id, sample=head_of(sample, now))
    kept, left_out = Room(tokens, answer).take(items[skip:])
    return msgspec.structs.replace(
        answer,
        items=kept,
        items_left_out=left_out,
        next_skip=skip + len(kept) if left_out else 0,
    )


def _text(what: str, text: str, *, ranks: str = "", most: int = LINE) -> Item:
    return Item(what=what, ranks=ranks, untrusted=Texts(texts=(clean(text, most),)))


def _number(what: str, number: float | None) -> Iterator[Item]:
    if number is not None:
        yield Item(what=what, number=round(number, 3))


def _finding(sample: Sample, number: int) -> Iterator[Item]:
    finding = sample.explanation.findings[number]
    ranks, spec = rank_ranges(finding.ranks), spec_of(finding.cause)
    yield Item(what=f"{finding.cause}: {spec.meaning}", ranks=ranks)
    yield Item(what=f"such a finding is concluded from: {spec.evidence}")
    yield _text("in words", finding.summary, ranks=ranks)
    yield from (_text("evidence", line) for line in finding.evidence)

    if finding.next_step:
        yield _text("what a person would type next", finding.next_step)

    for worker in sample.snapshot.workers:
        if worker.rank in finding.ranks:
            yield _text("where the rank is", _where(worker), ranks=str(worker.rank))


def _rank(sample: Sample, number: int) -> Iterator[Item]:
    worker = sample.snapshot.workers[number]
    name = "" if worker.rank is None else str(worker.rank)
    yield _text(f"rank in state {worker.state}, phase {worker.phase}", _where(worker), ranks=name)
    yield from _number("pid", worker.pid)
    yield from _number("step", worker.step)
    yield from _number("seconds since its training thread ran", worker.idle_s)
    yield from _number("resident bytes", worker.rss_bytes)
    yield from _number("milliseconds this sample paused it", worker.pause_ms)

    for collective in worker.collectives:
        state = "finished" if collective.finished else "entered and not left"
        yield Item(
            what=f"newest collective of a group, {state}; seconds since it was entered",
            number=seconds(collective.age_s),
            untrusted=Texts(texts=(in_collective(collective),)),
        )

    yield from (
        Item(what=f"its stack: {sample.id_of('k', place)}")
        for place, group in enumerate(sample.snapshot.stacks.groups)
        if worker.rank in group.ranks
    )

    for source in msgspec.structs.fields(worker.evidence):
        said = getattr(worker.evidence, source.name)
        yield Item(what=f"{source.name}: ok") if said == OK else _text(source.name, said)

    for gpu in worker.gpus:
        yield _text(f"GPU in slot {gpu.slot}", gpu.uuid or "UUID not known")

    for package, version in sorted(worker.versions.items()):
        yield _text("package", f"{package} {version}", most=NAME)

    if worker.deepspeed is not None:
        yield Item(what=f"DeepSpeed engine with ZeRO stage {worker.deepspeed.zero_stage}")

        for key, value in worker.deepspeed.config.items():
            yield _text("DeepSpeed setting", f"{key} = {value}", most=VALUE)


def _stack(sample: Sample, number: int) -> Iterator[Item]:
    group = sample.snapshot.stacks.groups[number]
    ranks = rank_ranges(group.ranks)
    yield _text(f"thread of the {group.role}, innermost frame first", group.thread, ranks=ranks)
    yield from _number("seconds since one of these threads ran", group.idle_s)

    for line in frame_lines(group.frames, is_whole=True, with_locals=True):
        yield _text("local" if line.startswith("|") else "frame", line)


def _wait(sample: Sample, number: int) -> Iterator[Item]:
    graph = sample.explanation.graph
    edge = graph.edges[number]

    # The wait itself, then those that lead to what waits for nothing.
    for place, other in sorted(
        enumerate(graph.edges),
        key=lambda placed: (placed[0] != number, placed[1].awaited not in graph.roots),
    ):
        if {edge.waiter, edge.awaited} & {other.waiter, other.awaited}:
            said = f"{other.waiter} waits for {other.awaited}: {other.because}"
            yield _text(f"wait {sample.id_of('w', place)}", said)
            yield _text("its evidence", other.evidence)

    for node in graph.nodes:
        if node.name in (edge.waiter, edge.awaited):
            yield _text(f"{node.kind} in the wait-for graph", f"{node.name} {node.detail}")

    yield from (_text("waits for nothing that was seen", root) for root in graph.roots)


def _variable(sample: Sample, number: int) -> Iterator[Item]:
    drift, expected = all_differences(sample)
    found = (*drift, *expected)[number]
    yield _text(
        "differs and should not" if number < len(drift) else "differs as expected", found.name
    )

    for value in found.values:
        what = "not set" if value.value is None else f"value, set by {value.source}"
        yield _text(what, value.value or "", ranks=rank_ranges(value.ranks))


def _sample(sample: Sample, _number: int) -> Iterator[Item]:
    snapshot = sample.snapshot
    yield from (_text("note on this sample", note) for note in snapshot.notes)

    for who, process in (("driver", snapshot.driver), ("controller", snapshot.controller)):
        if process is not None:
            waits = process.waiting_on or "nothing that was seen"
            yield _text(f"{who}, pid {process.pid}, waits for", waits)

    for node in snapshot.nodes:
        seen = f"{node.hostname} ({node.ip}); read by {node.agent.state}: {node.agent.detail}"
        yield _text(f"node, {'alive' if node.alive else 'lost'}, GPUs: {len(node.gpus)}", seen)

    for group in snapshot.groups:
        yield _text("process group", group.name, ranks=rank_ranges(group.ranks))

    if snapshot.startup is not None:
        for part in snapshot.startup.parts:
            yield Item(what=f"seconds of the start: {part.name}", number=seconds(part.seconds))

    for cost in snapshot.costs:
        said = f"{cost.evidence} {cost.detail or ''}"
        yield Item(
            what=f"seconds the run spent on {cost.name}",
            number=None if cost.seconds is None else round(cost.seconds, 3),
            untrusted=Texts(texts=(clean(said, LINE),)),
        )


def _where(worker: Worker) -> str:
    return f"{worker.hostname or worker.node_ip}: {place_in_code(worker.function) or 'not known'}"


_ITEMS: Final[dict[str, Callable[[Sample, int], Iterator[Item]]]] = {
    "": _sample,
    "f": _finding,
    "r": _rank,
    "k": _stack,
    "w": _wait,
    "e": _variable,
}
