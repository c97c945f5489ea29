"""Ranks that wait for input which Ray Data does not bring."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.evidence.input_pipeline import (
    LongTask,
    PendingActors,
    ShardWait,
)
from dsray_inspect.agent.detectors.input_pipeline import InputActorsPending, InputTaskStuck
from dsray_inspect.agent.text.findings.phrases import activity_text, where_name
from dsray_inspect.agent.text.findings.resources import (
    holder_lines,
    holder_name,
    next_step,
    shortage_lines,
)
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, count, duration, name_ranks, sentence

MOST_TASKS = 3


@words.register
def input_actors_pending(facts: InputActorsPending, _detection: Detection) -> Words:
    short = shortage_lines(facts.shortages)
    number = sum(actors.number for actors in facts.pending)
    by = f" Held by {holder_name(facts.holders[0])}." if facts.holders else ""
    who, wait = sentence(name_ranks(facts.waiting)), agree(facts.waiting, "waits", "wait")
    return Words(
        summary=f"{who} {wait} for input from {count(number, 'pending actor')} of Ray Data "
        f"({'; '.join(short)}).{by}",
        evidence=(
            *map(_pending_line, facts.pending),
            *holder_lines(facts.holders),
            f"{name_ranks(facts.waiting)}: in Ray Data, idle for {duration(facts.waited_s)}",
        ),
        next_step=next_step(facts.holders),
    )


def _pending_line(actors: PendingActors) -> str:
    needed = ", ".join(f"{name}: {amount:g}" for name, amount in actors.needed)
    return f"{actors.name}: {count(actors.number, 'actor')} pending, {needed} each"


@words.register
def input_task_stuck(facts: InputTaskStuck, _detection: Detection) -> Words:
    oldest = facts.tasks[0]
    who, wait = sentence(name_ranks(facts.waiting)), agree(facts.waiting, "waits", "wait")
    place = f" in {where_name(oldest.place)}" if oldest.place else ""
    verb = "has been" if oldest.is_still else "has been running"
    runs = f"{verb}{place}" if place else "has been running"
    return Words(
        summary=f"{who} {wait} for input from Ray Data, whose task {oldest.name} (pid {oldest.pid} "
        f"on {oldest.hostname}) {runs} for {duration(oldest.age_s)}.",
        evidence=(
            *(line for task in facts.tasks[:MOST_TASKS] for line in _task_lines(task)),
            f"{name_ranks(facts.waiting)}: in Ray Data, idle for {duration(facts.waited_s)}",
        ),
        next_step=f"py-spy dump --pid {oldest.pid}   (on {oldest.node_ip})",
    )


def _task_lines(task: LongTask) -> Iterator[str]:
    place = f", in {where_name(task.place)}" if task.place else ""
    doing = f"; {activity_text(task.activity)}" if task.activity else ""
    yield (
        f"task {task.name}, pid {task.pid} on {task.hostname}: running for "
        f"{duration(task.age_s)}{place}{doing}"
    )


def shard_line(wait: ShardWait) -> str:
    """Return whom the shard of a rank waits for."""
    ranks = name_ranks(wait.absent)
    have = agree(wait.absent, "has", "have")
    keeper = (
        f"SplitCoordinator, pid {wait.coordinator_pid}, holds it at the barrier of the epoch"
        if wait.coordinator_pid is not None
        else "get_dataset_shard returns once rank 0 has called it"
    )
    return f"its dataset shard waits for {ranks}, which {have} not asked for theirs ({keeper})"
