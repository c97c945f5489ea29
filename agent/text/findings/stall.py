"""Ranks that keep their peers waiting."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.causes import spec_of
from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.evidence.blocked_calls import EndWait
from dsray_inspect.agent.detectors.evidence.file_locks import LockWait
from dsray_inspect.agent.detectors.stall import (
    EveryRankBlocked,
    LateRank,
    LeftTraining,
    StalledRanks,
)
from dsray_inspect.agent.text.findings.input_pipeline import shard_line
from dsray_inspect.agent.text.findings.phrases import (
    activity_text,
    blocked_place,
    producer_name,
    victims_lines,
    where_name,
)
from dsray_inspect.agent.text.findings.wording import NextCommand, Words, words
from dsray_inspect.agent.text.humanize import agree, duration, name_ranks, sentence


@words.register
def stalled_ranks(facts: StalledRanks, detection: Detection) -> Words:
    ranks, late, victims = detection.ranks, facts.late, facts.victims
    who, peers = sentence(name_ranks(ranks)), name_ranks(victims.ranks)
    place = blocked_place(facts.blocked_by, late[0].where)
    them = agree(late, "it", "them")

    if facts.is_still:
        summary = (
            f"{who} {agree(late, 'has', 'have')} been blocked in {place} for "
            f"{duration(facts.stalled_s)}; {peers} {agree(victims.ranks, 'is', 'are')} waiting for {them}."
        )
    else:
        be = agree(late, "is", "are")
        runs = (
            f"{producer_name(facts.producer)}, is"
            if facts.producer
            else f"{agree(late, 'it', 'they')} {be}"
        )
        summary = (
            f"{who} {be} in {place} and {runs} still running; "
            f"{peers} {agree(victims.ranks, 'has', 'have')} waited "
            f"{duration(victims.waited_s)} for {them}."
        )

    command, *flags = spec_of(facts.blocked_by).next
    return Words(
        summary=summary,
        evidence=tuple(_evidence(facts)),
        next_step=NextCommand(command=command, ranks=ranks, flags=tuple(flags)),
    )


def _evidence(facts: StalledRanks) -> Iterator[str]:
    """Yield what is known of each rank; what the victims wait in after the first."""
    waits, gives_up = victims_lines(facts.victims)

    if facts.shard_wait is not None:
        yield shard_line(facts.shard_wait)

    for number, late in enumerate(facts.late):
        yield from _owner_lines(late)
        yield from _idle_lines(late)

        if number == 0:
            yield waits

        yield from _behind_line(late.rank, late.last_sequence)

        if number == 0 and gives_up:
            yield gives_up

        yield from (f"child {child.pid}: in {where_name(child.place)}" for child in late.children)

    for producer in facts.producers:
        yield f"{producer_name(producer)}: {activity_text(producer.activity)}"


def _idle_lines(late: LateRank) -> Iterator[str]:
    if late.activity:
        yield f"{name_ranks([late.rank])}: {activity_text(late.activity)}"

    if late.idle_s is not None:
        idle = duration(late.idle_s)
        yield f"{name_ranks([late.rank])}: last ran {idle} ago (/proc/{late.pid}/task)"


def _owner_lines(late: LateRank) -> Iterator[str]:
    """Yield who has what a rank waits for, where that is known."""
    who = name_ranks([late.rank])

    for lock in late.file_locks:
        path = lock.path or "a file whose name is not known"
        yield f"{who}: waits for the file lock of {path}, held by {_holder(lock)}"

    for end in late.ends:
        yield f"{who}: {_end_line(end)}"

    for child in late.child_processes:
        yield f"{who}: waits for its child {child.name}, pid {child.pid}, state {child.state}"

    if late.awaited:
        inner, *outer = reversed(late.awaited)
        chain = "".join(f", awaited by {where_name(place)}" for place in outer)
        yield f"{who}: its event loop waits for coroutine {where_name(inner)}{chain}"


def _holder(lock: LockWait) -> str:
    if lock.holder_rank is not None:
        return f"{name_ranks([lock.holder_rank])} (pid {lock.holder_pid})"

    if lock.holder_pid:
        return f"pid {lock.holder_pid} ({lock.holder_name or 'gone'}), which is no rank"

    return "a process that the kernel does not name"


def _end_line(end: EndWait) -> str:
    """Return "waits to read from a pipe, whose other end is held by pid 71 (decoder)"."""
    verb = "write to" if end.writes else "read from"
    is_connection = end.kind == "socket" and end.name
    what = f"connection to {end.name}" if is_connection else f"{end.kind} {end.name}".rstrip()
    others = ", ".join(
        f"pid {other.pid} ({other.name or 'gone'})"
        if other.rank is None
        else f"{name_ranks([other.rank])} (pid {other.pid})"
        for other in end.others
    )
    held = f", whose other end is held by {others}" if others else ""
    return f"waits to {verb} a {what}{held}"


def _behind_line(rank: int | None, last_sequence: int | None) -> Iterator[str]:
    if last_sequence is not None:
        yield f"{name_ranks([rank])}: its last collective of that group is #{last_sequence}"


@words.register
def left_training(facts: LeftTraining, _detection: Detection) -> Words:
    waits, gives_up = victims_lines(facts.victims)
    rank, victims = name_ranks([facts.rank]), facts.victims.ranks
    return Words(
        summary=f"{sentence(rank)} has left the training function; {name_ranks(victims)} "
        f"{agree(victims, 'has', 'have')} been waiting for it for {duration(facts.victims.waited_s)}.",
        evidence=(
            f"{rank}: its training thread has ended",
            waits,
            *_behind_line(facts.rank, facts.last_sequence),
            *((gives_up,) if gives_up else ()),
        ),
        next_step=NextCommand(command="stacks", ranks=victims[:1]),
    )


@words.register
def every_rank_blocked(facts: EveryRankBlocked, detection: Detection) -> Words:
    place = blocked_place(facts.blocked_by, facts.ranks[0].where)
    return Words(
        summary=f"Every rank has been blocked in {place} for {duration(facts.lasts_s)}; "
        "none is waiting for another.",
        evidence=tuple(
            f"{name_ranks([late.rank])}: {where_name(late.where)}; {activity_text(late.activity)}"
            for late in facts.ranks
            if late.activity
        ),
        next_step=NextCommand(command="stacks", ranks=detection.ranks[:1], flags=("--locals",)),
    )
