"""Put the stacks of many ranks together: equal ones once, common beginnings once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dsray_inspect.agent.compat import deepspeed, ray, torch
from dsray_inspect.agent.model import Frame, Layer, Record, Role, StackGroup
from dsray_inspect.agent.stacks.frame_rules import path_of
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.thread import Thread

_FOLD_FROM = 4
_MAX_PARTINGS = 60
_NEVER_FOLDED: tuple[Layer, ...] = ("user", "collective")

# Frames that stand in every stack of their kind and tell nothing; None is every function.
_PLUMBING: dict[str, frozenset[str] | None] = {
    "threading.py": frozenset(["_bootstrap", "_bootstrap_inner", "run"]),
    "contextlib.py": frozenset(["inner"]),
    **{
        path: frozenset(names.split()) or None
        for path, names, *_ in (*ray.PLUMBING, *torch.PLUMBING, *deepspeed.PLUMBING)
    },
}


class Entry(NamedTuple):
    """One thread and whose it is; a driver's and a controller's have no rank."""

    rank: int | None
    role: Role
    pid: int | None
    thread: Thread


class Folded(Record, frozen=True, kw_only=True):
    """Frames shown as one line; `plumbing` need not be shown at all."""

    layer: Layer
    frames: tuple[Frame, ...]
    plumbing: bool

    @property
    def count(self) -> int:
        return len(self.frames)


class Branch(Record, frozen=True, kw_only=True):
    """The frames that the same ranks share, and where their ways part after them."""

    ranks: tuple[int, ...]
    pids: tuple[int, ...]
    frames: tuple[Frame, ...]
    branches: tuple[Branch, ...] = ()
    idle_s: float | None = None

    @property
    def ends(self) -> tuple[int, ...]:
        """The ranks whose stack ends here while others go on."""
        going_on = {rank for branch in self.branches for rank in branch.ranks}
        return tuple(rank for rank in self.ranks if rank not in going_on)


def group(entries: Iterable[Entry]) -> tuple[StackGroup, ...]:
    """Return each stack once with the ranks in it, the most common first."""
    by_stack: dict[tuple[Role, str, StackInfo], list[Entry]] = {}
    for entry in entries:
        thread = entry.thread
        by_stack.setdefault((entry.role, thread.name, thread.stack), []).append(entry)

    # Two tools that read one stack may differ in what no reader sees.
    equal: dict[tuple[object, ...], list[Entry]] = {}
    for (role, name, stack), held in by_stack.items():
        equal.setdefault((role, name, stack.shown), []).extend(held)

    groups = [_group(same) for same in equal.values()]
    return tuple(sorted(groups, key=_order))


def _group(same: Sequence[Entry]) -> StackGroup:
    of_ranks = sorted([(entry.rank, entry.pid or 0) for entry in same if entry.rank is not None])
    of_others = sorted([entry.pid or 0 for entry in same if entry.rank is None])
    pids = dict.fromkeys([*(pid for _, pid in of_ranks), *of_others])
    pids.pop(0, None)
    idle = [entry.thread.idle_s for entry in same if entry.thread.idle_s is not None]
    return StackGroup(
        ranks=tuple(dict.fromkeys([rank for rank, _ in of_ranks])),
        role=same[0].role,
        thread=same[0].thread.name,
        frames=same[0].thread.frames,
        pids=tuple(pids),
        idle_s=min(idle, default=None),
    )


def _order(group: StackGroup) -> tuple[object, ...]:
    frames = [(frame.file, frame.line, frame.name) for frame in group.frames]
    return (-len(group.ranks), group.ranks, group.role, group.thread, group.pids, frames)


def prefix_tree(groups: Sequence[StackGroup]) -> tuple[Branch, ...]:
    """Return the stacks as trees: a beginning that several groups share stands once."""
    return _branches(groups, 0, 0)


def _branches(groups: Sequence[StackGroup], start: int, partings: int) -> tuple[Branch, ...]:
    parted: dict[tuple[object, ...], list[StackGroup]] = {}
    for number, group in enumerate(groups):
        if start < len(group.frames):
            # Nobody reads deeper than this, and recursion has an end.
            key = (number,) if partings >= _MAX_PARTINGS else _key(group.frames[start])
            parted.setdefault(key, []).append(group)

    branches = [_branch(same, start, partings) for same in parted.values()]
    return tuple(sorted(branches, key=lambda branch: (-len(branch.ranks), branch.ranks)))


def _branch(same: Sequence[StackGroup], start: int, partings: int) -> Branch:
    first = same[0].frames
    stop = start + 1
    shortest = min(len(group.frames) for group in same)
    while stop < shortest:
        key = _key(first[stop])
        if any(_key(group.frames[stop]) != key for group in same[1:]):
            break

        stop += 1

    return Branch(
        ranks=tuple(sorted({rank for group in same for rank in group.ranks})),
        pids=tuple(dict.fromkeys(pid for group in same for pid in group.pids)),
        frames=first[start:stop],
        branches=_branches(same, stop, partings + 1),
        idle_s=min((group.idle_s for group in same if group.idle_s is not None), default=None),
    )


def _key(frame: Frame) -> tuple[object, ...]:
    return (frame.name, frame.file, frame.line, frame.layer, frame.locals)


def fold(frames: Sequence[Frame]) -> tuple[Frame | Folded, ...]:
    """Return what a reader needs of a stack; unfolded again it is the same stack."""
    plumbing = [_is_plumbing(frame) for frame in frames]
    shown: list[Frame | Folded] = []
    at = 0
    while at < len(frames):
        is_single = frames[at].layer in _NEVER_FOLDED and not plumbing[at]
        end = at + 1 if is_single else _end_of_run(frames, plumbing, at)
        run = tuple(frames[at:end])
        telling = len(run) - sum(plumbing[at:end])
        if telling == 0:
            shown.append(Folded(layer=run[0].layer, frames=run, plumbing=True))
        elif is_single or telling < _FOLD_FROM:
            # One frame, then whatever follows it as a run of its own.
            shown.append(run[0])
            end = at + 1
        else:
            shown.append(run[0])
            shown.append(Folded(layer=run[0].layer, frames=run[1:], plumbing=False))

        at = end

    return tuple(shown)


def _end_of_run(frames: Sequence[Frame], plumbing: Sequence[bool], start: int) -> int:
    """Return the end of the frames of one layer, or of the plumbing, that begin at `start`."""
    end = at = start + 1
    while at < len(frames):
        if plumbing[start]:
            if not plumbing[at]:
                break

            end = at + 1
        elif not plumbing[at]:
            if frames[at].layer != frames[start].layer:
                break

            end = at + 1

        at += 1

    return end


def _is_plumbing(frame: Frame) -> bool:
    names = _PLUMBING.get(path_of(frame), frozenset())
    return frame.layer not in ("user", "native") and (names is None or frame.name in names)
