"""Where the ranks of a side stand: only what has stopped is in a place that says something."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.detectors.evidence.collective_waits import PROMPT_S
from dsray_inspect.agent.diff.fact import Fact
from dsray_inspect.agent.diff.own_names import PSEUDONYM
from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.differences import Value
from dsray_inspect.agent.model import Frame, Worker
from dsray_inspect.agent.stacks.frame_rules import path_of

MOVES: Final = "moves on"


def rests(side: Side, worker: Worker) -> bool:
    """Return whether a rank has stopped, in a run that is not well."""
    if not side.is_stuck or worker.state == "dead":
        return False

    waited = worker.waiting_in
    is_waiting = waited is not None and waited.age_s >= PROMPT_S
    is_idle = worker.idle_s is not None and worker.idle_s >= PROMPT_S
    return is_waiting or is_idle or worker.rank in side.last.verdict.ranks


def place_of(side: Side, worker: Worker) -> Fact | None:
    """Return where a rank is, None for one that is gone."""
    if worker.state == "dead":
        return None

    if not rests(side, worker):
        return Fact(MOVES, Value(text=MOVES))

    function = worker.function
    waited = worker.waiting_in
    same = (
        worker.phase,
        (function.name, _file(function.file), function.line) if function else None,
        (waited.operation, waited.group) if waited else None,
    )
    where = f"{function.name} {_file(function.file)}:{function.line} " if function else ""
    wait = f", in {waited.operation} (group {waited.group})" if waited else ""
    return Fact(same, Value(text=f"{where}({worker.phase}){wait}"))


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def stacks_of(side: Side) -> dict[int, tuple[Frame, ...]]:
    """Return the stack of the training thread of each rank that has stopped."""
    resting = {rank for rank, worker in side.workers().items() if rests(side, worker)}
    found: dict[int, tuple[Frame, ...]] = {}

    for group in side.last.stacks.groups:
        for rank in group.ranks if group.role == "worker" else ():
            if rank in resting:
                found.setdefault(rank, group.frames)

    return found


def parting(
    mine: tuple[Frame, ...], theirs: tuple[Frame, ...], *, is_replaced: bool
) -> tuple[str, str] | None:
    """Return the first frames that differ in two stacks of one place, None where none does.

    Pseudonyms of two files differ anyway.
    """
    for one, other in zip(mine, theirs, strict=False):
        shown = _shown(one), _shown(other)
        known = [PSEUDONYM.sub("", text) if is_replaced else text for text in shown]

        if known[0] != known[1]:
            return shown

    if len(mine) == len(theirs):
        return None

    longer = mine if len(mine) > len(theirs) else theirs
    next_frame = _shown(longer[min(len(mine), len(theirs))])
    return (next_frame, "the end") if longer is mine else ("the end", next_frame)


def _shown(frame: Frame) -> str:
    path = _file(frame.file) if frame.layer in ("user", "native") else path_of(frame)
    return f"{frame.name} {path}:{frame.line}"
