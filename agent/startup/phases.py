"""The parts of a start, one after the other, from its moments: they add up by construction."""

from __future__ import annotations

from dsray_inspect.agent.launchers.start import Milestones, S
from dsray_inspect.agent.model import StartName, StartPart, StartUntil, Startup
from dsray_inspect.agent.startup.ranks import RankStart

Boundary = tuple[StartName, int | None]
"""A part, and when it ended."""
ONLY_SUBMIT = (
    "DeepSpeed's set-up and the first step leave no trace of their times; "
    "a job started by `dsray-inspect submit` records them"
)
_AFTER_BEGIN: tuple[StartName, ...] = ("before_deepspeed", "deepspeed_init", "first_step")


def _boundaries(marks: Milestones, ranks: list[RankStart]) -> list[Boundary]:
    """Return each part with its end, in their order."""
    own: list[Boundary] = [] if marks.restart else [("controller", marks.group_asked_ns)]
    last = max(ranks, key=lambda rank: rank.initialized_ns or 0, default=None)
    steps = [rank.stepped_ns for rank in ranks]
    return [
        *own,
        ("placement_group", marks.group_ready_ns),
        ("actor_scheduling", marks.launched_ns),
        ("process_start", marks.running_ns),
        ("imports", marks.created_ns),
        ("ranks_and_env", marks.join_ns),
        ("rendezvous", marks.joined_ns),
        ("ranks_and_env", marks.trained_ns),
        ("before_deepspeed", last.initialize_ns if last else None),
        ("deepspeed_init", last.initialized_ns if last else None),
        ("first_step", max(filter(None, steps), default=None) if all(steps) else None),
    ]


def startup_of(
    marks: Milestones, ranks: list[RankStart], *, now_ns: int | None, notes: tuple[str, ...] = ()
) -> Startup | None:
    """Return the start as parts; None where not even its begin is known.

    `now_ns` is None when the start is over: time that nobody accounts for then is no part of it.
    """
    begin_ns = marks.group_asked_ns if marks.restart else marks.fit_ns or marks.controller_ns
    ends = _boundaries(marks, ranks)

    if begin_ns is None:
        return None

    seconds: dict[StartName, int] = {}
    reached, merged, open_part = begin_ns, [], None

    for number, (name, end_ns) in enumerate(ends):
        if end_ns is None:
            if any(later_ns is not None for _, later_ns in ends[number + 1 :]):
                merged.append(name)
                continue

            open_part = name
            break

        seconds[name] = seconds.get(name, 0) + max(0, end_ns - reached)
        reached = max(reached, end_ns)

    if open_part is not None and now_ns is not None:
        seconds[open_part] = seconds.get(open_part, 0) + max(0, now_ns - reached)
        reached = max(reached, now_ns)

    _move_imports(seconds, marks, ranks)
    return Startup(
        began_at=begin_ns / S,
        seconds=(reached - begin_ns) / S,
        until=_until(open_part, now_ns),
        restart=marks.restart,
        parts=tuple(StartPart(name=name, seconds=ns / S) for name, ns in seconds.items()),
        notes=(*notes, *_notes_on(marks, merged, open_part, now_ns)),
    )


def _until(open_part: StartName | None, now_ns: int | None) -> StartUntil:
    if open_part is None:
        return "first_step"

    if now_ns is not None:
        return "now"

    return "train_func" if open_part in _AFTER_BEGIN else "partly"


def _move_imports(seconds: dict[StartName, int], marks: Milestones, ranks: list[RankStart]) -> None:
    """Count as imports what is importing inside the parts around it."""
    last = max(ranks, key=lambda rank: rank.initialized_ns or 0, default=None)
    inside: tuple[tuple[StartName, int], ...] = (
        ("ranks_and_env", marks.unpickled_ns),
        ("before_deepspeed", last.import_ns if last else 0),
    )

    for name, length in inside:
        moved = min(length, seconds.get(name, 0))

        if moved:
            seconds[name] -= moved
            seconds["imports"] = seconds.get("imports", 0) + moved


def _notes_on(
    marks: Milestones, merged: list[StartName], open_part: StartName | None, now_ns: int | None
) -> list[str]:
    """Return what the parts do not say."""
    notes = []

    if marks.fit_ns is None and not marks.restart:
        notes.append("it is counted from the controller's begin, as fit() itself is forgotten")

    if merged:
        notes.append(f"{', '.join(merged)}: not separated from the part after it")

    if now_ns is None and open_part in _AFTER_BEGIN:
        notes.append(ONLY_SUBMIT)
    elif now_ns is None and open_part is not None:
        notes.append(f"nothing is kept of it from {open_part} on")

    return notes
