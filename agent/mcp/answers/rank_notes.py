"""Ranks as answers have them: single ones, and those that do the same together."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.mcp.job_text import LINE, NAME, PLACE, clean
from dsray_inspect.agent.mcp.notes import RankGroup, RankNote, RankText
from dsray_inspect.agent.mcp.sample import Sample, maybe_seconds, rank_ranges
from dsray_inspect.agent.model import OK, Collective, Function, Worker
from dsray_inspect.agent.text.humanize import collective_name


def rank_note(sample: Sample, number: int) -> RankNote:
    """Return one rank, by its place among the workers of the sample."""
    worker = sample.snapshot.workers[number]
    waiting = worker.waiting_in
    return RankNote(
        id=sample.id_of("r", number),
        rank=worker.rank,
        blamed=worker.rank in sample.explanation.verdict.ranks,
        state=worker.state,
        phase=worker.phase,
        step=worker.step,
        pid=worker.pid,
        gpus=tuple(gpu.slot for gpu in worker.gpus[:8]),
        idle_s=maybe_seconds(worker.idle_s),
        waits_s=maybe_seconds(waiting.age_s if waiting is not None else None),
        untrusted=RankText(
            host=clean(worker.hostname or worker.node_ip, NAME),
            at=place_in_code(worker.function),
            waits_in=in_collective(waiting),
            unread="" if worker.evidence.stack == OK else clean(worker.evidence.stack, LINE),
        ),
    )


def groups_of(sample: Sample, workers: Sequence[Worker]) -> list[RankGroup]:
    """Return ranks that do the same together: the blamed first, then the largest groups."""
    blamed = set(sample.explanation.verdict.ranks)
    alike: dict[tuple[object, ...], list[Worker]] = {}

    for worker in workers:
        waiting = worker.waiting_in
        key = (
            *(worker.rank in blamed, worker.state, worker.phase, place_in_code(worker.function)),
            (waiting.group_key, waiting.sequence) if waiting is not None else None,
        )
        alike.setdefault(key, []).append(worker)

    groups = [_group(same, is_blamed=bool(key[0])) for key, same in alike.items()]
    return sorted(groups, key=lambda group: (not group.blamed, -group.count))


def _group(same: Sequence[Worker], *, is_blamed: bool) -> RankGroup:
    first = same[0]
    waits_s = [waiting.age_s for worker in same if (waiting := worker.waiting_in) is not None]
    steps = sorted({worker.step for worker in same if worker.step is not None})
    return RankGroup(
        ranks=rank_ranges(tuple(worker.rank for worker in same if worker.rank is not None)),
        count=len(same),
        blamed=is_blamed,
        state=first.state,
        phase=first.phase,
        steps="" if not steps else "-".join(map(str, dict.fromkeys((steps[0], steps[-1])))),
        longest_wait_s=maybe_seconds(max(waits_s, default=None)),
        untrusted=RankText(
            at=place_in_code(first.function), waits_in=in_collective(first.waiting_in)
        ),
    )


def place_in_code(function: Function | None) -> str:
    """Return "load_batch (train.py:81)"."""
    if function is None:
        return ""

    file = function.file.rpartition("/")[2]
    return clean(f"{function.name} ({file}:{function.line})", PLACE)


def in_collective(collective: Collective | None) -> str:
    return "" if collective is None else clean(collective_name(collective), PLACE)
