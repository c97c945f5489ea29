"""`stacks`: equal stacks once, the blamed rank's first, innermost frame first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.mcp.documents import StacksAnswer
from dsray_inspect.agent.mcp.job_text import LINE, NAME, NOTICE, PLACE, VALUE, clean, clean_end
from dsray_inspect.agent.mcp.notes import LogNote, LogText, StackNote, StackText, Texts, UnreadNote
from dsray_inspect.agent.mcp.room import Room
from dsray_inspect.agent.mcp.sample import (
    Sample,
    head_of,
    limits_of,
    maybe_seconds,
    rank_ranges,
    seconds,
)
from dsray_inspect.agent.model import OK, Frame, Snapshot, StackGroup, Worker
from dsray_inspect.agent.stacks.merge import Folded, fold
from dsray_inspect.agent.text.stacks import place_of, telling_first, with_last_frame

_MOST_FRAMES: Final = 24
_MOST_LOCALS: Final = 12
_BESIDE_LOGS: Final = 0.5
_BESIDE_UNREAD: Final = 0.9
"""The parts of the room that stacks may have."""
_AROUND_LINES_BYTES: Final = 350
"""What a log takes beside its lines: its path, and how old it is."""


def stacks_answer(
    sample: Sample,
    tokens: int,
    now: float,
    *,
    ranks: Collection[int] = (),
    with_locals: bool = False,
) -> StacksAnswer:
    """Return the stacks of a sample, of all ranks or of the given ones, and their logs if known."""
    snapshot = sample.snapshot
    workers = [worker for worker in snapshot.workers if not ranks or worker.rank in ranks]
    logged = [worker for worker in workers if worker.log is not None]
    answer = StacksAnswer(
        notice=NOTICE,
        sample=head_of(sample, now),
        does_not_prove=limits_of(sample),
        longest_pause_ms=max((seconds(worker.pause_ms) for worker in workers), default=None),
    )
    room = Room(tokens, answer)
    share = _BESIDE_LOGS if logged else _BESIDE_UNREAD
    stacks, more_stacks = room.take(_stacks(sample, ranks, with_locals=with_locals), share=share)
    logs, more_logs = room.take(_logs(logged, room.left_bytes))
    unread, more_unread = room.take(unread_notes(workers, "stack"))
    return msgspec.structs.replace(
        answer,
        stacks=stacks,
        stacks_left_out=more_stacks,
        logs=logs,
        logs_left_out=more_logs,
        unread=unread,
        unread_left_out=more_unread,
    )


def stack_note(sample: Sample, number: int, *, is_whole: bool, with_locals: bool) -> StackNote:
    """Return one stack, by its place among those of the sample."""
    group = sample.snapshot.stacks.groups[number]
    lines = frame_lines(group.frames, is_whole=is_whole, with_locals=with_locals)
    cut = lines if is_whole else lines[:_MOST_FRAMES]
    return StackNote(
        id=sample.id_of("k", number),
        role=group.role,
        ranks=rank_ranges(group.ranks),
        count=len(group.ranks),
        blamed=bool(set(group.ranks) & set(sample.explanation.verdict.ranks)),
        idle_s=maybe_seconds(group.idle_s),
        untrusted=StackText(thread=clean(group.thread, NAME), frames=tuple(cut)),
    )


def frame_lines(frames: Sequence[Frame], *, is_whole: bool, with_locals: bool) -> list[str]:
    """Return frames innermost first, folded unless all are wanted, each with its locals."""
    shown = list(frames) if is_whole else _telling(frames)
    lines: list[str] = []

    for frame in reversed(shown):
        if isinstance(frame, Folded):
            lines.append(f"… {frame.count} frames of {frame.layer}")
            continue

        name = (frame.qualname or frame.name).rpartition("<locals>.")[2]
        place = f"{frame.file}:{frame.line}" if is_whole else place_of(frame)
        lines.append(f"{clean(name, NAME)}  {clean_end(place, PLACE)}  [{frame.layer}]")

        lines += [
            f"| {clean(local.name, NAME)} = {clean(local.value, VALUE)}"
            for local in (frame.locals or ())[:_MOST_LOCALS]
            if with_locals
        ]

    return lines


def unread_notes(workers: Sequence[Worker], what: str) -> list[UnreadNote]:
    """Return ranks whose stack or environment was not read, by the reason."""
    missing: dict[str, list[int]] = {}

    for worker in workers:
        why: str = getattr(worker.evidence, what)

        if why != OK:
            missing.setdefault(why, []).append(-1 if worker.rank is None else worker.rank)

    return [
        UnreadNote(
            ranks=rank_ranges(tuple(rank for rank in ranks if rank >= 0)) or "not known",
            untrusted=Texts(texts=(clean(why, LINE),)),
        )
        for why, ranks in sorted(missing.items(), key=lambda item: -len(item[1]))
    ]


def _stacks(sample: Sample, ranks: Collection[int], *, with_locals: bool) -> Iterator[StackNote]:
    snapshot = sample.snapshot
    blamed = set(sample.explanation.verdict.ranks)

    def order(number: int) -> tuple[object, ...]:
        group = snapshot.stacks.groups[number]
        is_rank = group.role in ("worker", "child")
        # Few ranks in a place that the others are not in are the ones to look at.
        return (
            not (is_rank and blamed & set(group.ranks)),
            not is_rank,
            *telling_first((group.role, group.thread)),
            len(group.ranks),
        )

    for number in sorted(_chosen(snapshot, ranks), key=order):
        yield stack_note(sample, number, is_whole=False, with_locals=with_locals)


def _chosen(snapshot: Snapshot, ranks: Collection[int]) -> list[int]:
    def is_wanted(group: StackGroup) -> bool:
        return bool(group.frames) and (not ranks or bool(set(group.ranks) & set(ranks)))

    return [n for n, group in enumerate(snapshot.stacks.groups) if is_wanted(group)]


def _telling(frames: Sequence[Frame]) -> list[Frame | Folded]:
    """Return the frames folded, without plumbing, the innermost as it is."""
    shown = [frame for frame in fold(frames) if not (isinstance(frame, Folded) and frame.plumbing)]
    return with_last_frame(shown) or list(frames[-1:])


def _logs(workers: Sequence[Worker], room_bytes: int) -> Iterator[LogNote]:
    """Yield each log with as many of its last lines as its part of the room holds."""
    files = sum(len(worker.log.files) for worker in workers if worker.log is not None)

    for worker in workers:
        log = worker.log
        assert log is not None

        for file in log.files:
            lines = _last_lines(file.lines, room_bytes // files - _AROUND_LINES_BYTES)
            yield LogNote(
                rank=worker.rank,
                stream=file.stream,
                written_ago_s=maybe_seconds(file.age_s),
                lines_left_out=len(file.lines) - len(lines),
                untrusted=LogText(path=clean_end(file.path, PLACE), lines=lines),
            )

        if log.why != OK:
            yield LogNote(rank=worker.rank, untrusted=LogText(missing=clean(log.why, LINE)))


def _last_lines(lines: Sequence[str], left_bytes: int) -> tuple[str, ...]:
    kept: list[str] = []

    for line in reversed(lines):
        shown = clean(line, LINE)
        left_bytes -= len(msgspec.json.encode(shown)) + 1

        if left_bytes < 0:
            break

        kept.append(shown)

    return tuple(reversed(kept))
