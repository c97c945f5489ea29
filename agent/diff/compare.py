"""Compares two sides: the one door of this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dsray_inspect.agent.diff.fact import Fact, Key
from dsray_inspect.agent.diff.facts import SideFacts, facts_of
from dsray_inspect.agent.diff.figures import figure_differences
from dsray_inspect.agent.diff.noise import Noise
from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.diff.standing import parting, stacks_of
from dsray_inspect.agent.differences import (
    KINDS,
    Because,
    Compared,
    DiffDocument,
    Difference,
    Kind,
    NotCompared,
    Value,
)
from dsray_inspect.agent.text.humanize import count

_UNREAD: Final = {
    "env": "environment",
    "config": "DeepSpeed config",
    "version": "package versions",
}
"""How a kind is called where a side does not have it; of others nothing is said."""
_ON_ONE_SIDE: Final[tuple[Kind, ...]] = ("finding", "group")
"""What a run may have or not; of other facts of a run, both sides must know theirs."""
_HIDDEN: Final = {"place": "where it stands", "command": "entrypoint"}

_Found = tuple[Key, Value | None, Value | None, Because | None]
_Missing = tuple[str, str]


class _Pairs:
    """What was found of single ranks, equal findings of many ranks together."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self.found: dict[_Found, list[int]] = {}
        self.missing: dict[_Missing, list[int]] = {}
        self.equal: dict[str, set[str]] = {}

    def note(
        self, key: Key, facts: tuple[Fact | None, Fact | None], *, rank: int | None = None
    ) -> None:
        """Keep two facts if they are not the same, or cannot be compared."""
        mine, theirs = facts
        ranks = [rank] if rank is not None else []
        why = self._noise.hidden(key, mine, theirs)

        if why is not None:
            what = _HIDDEN.get(key.kind, key.name)
            self.missing.setdefault((what, why), []).extend(ranks)
            return

        self.equal.setdefault(key.kind, set()).add(key.name)

        if mine is not None and theirs is not None and mine.same == theirs.same:
            return

        values = mine and mine.value, theirs and theirs.value
        because = self._noise.because(key, mine, theirs)
        self.found.setdefault((key, *values, because), []).extend(ranks)


def compare(a: Side, b: Side) -> DiffDocument:
    """Return what differs between two sides; ranks are matched by their numbers."""
    mine, theirs = facts_of(a), facts_of(b)
    common = sorted(mine.ranks.keys() & theirs.ranks.keys())
    pairs = _Pairs(Noise(a, b))

    for key in sorted(mine.run.keys() | theirs.run.keys()):
        if key.kind not in _ON_ONE_SIDE and not (key in mine.run and key in theirs.run):
            continue  # not known on one side

        pairs.note(key, (mine.run.get(key), theirs.run.get(key)))

    for rank in common:
        _compare_rank(rank, (mine, theirs), pairs=pairs)

    found = [
        Difference(
            kind=key.kind, name=key.name, ranks=tuple(ranks), a=one, b=other, because=because
        )
        for (key, one, other, because), ranks in pairs.found.items()
    ]
    found += [*_partings(a, b, pairs), *figure_differences(a, b)]
    found.sort(key=_order)
    missing = [
        NotCompared(what=what, ranks=tuple(ranks), why=why)
        for (what, why), ranks in pairs.missing.items()
    ]
    missing += [
        NotCompared(what=what, ranks=(), why="a public file does not have them")
        for what in sorted({*a.left_out, *b.left_out})
    ]
    missing += [*_unranked("A", a), *_unranked("B", b)]
    return DiffDocument(
        a=a.summary(),
        b=b.summary(),
        differences=tuple(difference for difference in found if difference.because is None),
        expected=tuple(difference for difference in found if difference.because is not None),
        not_compared=tuple(
            sorted(missing, key=lambda missed: (missed.why, missed.what, missed.ranks))
        ),
        compared=_compared(common, pairs),
    )


def _compare_rank(rank: int, sides: tuple[SideFacts, SideFacts], *, pairs: _Pairs) -> None:
    """Note what differs in one rank, but for what is unread on a side."""
    mine, theirs = sides
    own, other = mine.ranks[rank], theirs.ranks[rank]
    unread = {"A": mine.unread[rank], "B": theirs.unread[rank]}
    skipped = {kind for kinds in unread.values() for kind in kinds}

    for kind in sorted(skipped & _UNREAD.keys()):
        why = "; ".join(f"{side}: {kinds[kind]}" for side, kinds in unread.items() if kind in kinds)
        pairs.missing.setdefault((_UNREAD[kind], why), []).append(rank)

    for key in sorted(own.keys() | other.keys()):
        if key.kind not in skipped:
            pairs.note(key, (own.get(key), other.get(key)), rank=rank)


def _partings(a: Side, b: Side, pairs: _Pairs) -> Iterator[Difference]:
    """Yield where the stacks part of ranks that have stopped in one place on both sides."""
    elsewhere = {
        rank for (key, *_), ranks in pairs.found.items() if key.kind == "place" for rank in ranks
    }
    mine, theirs = stacks_of(a), stacks_of(b)
    found: dict[tuple[str, str], list[int]] = {}

    for rank in sorted(mine.keys() & theirs.keys() - elsewhere):
        parted = parting(mine[rank], theirs[rank], is_replaced=a.pseudonyms != b.pseudonyms)

        if parted is not None:
            found.setdefault(parted, []).append(rank)

    for (one, other), ranks in found.items():
        values = Value(text=one), Value(text=other)
        yield Difference(kind="frame", name="first", ranks=tuple(ranks), a=values[0], b=values[1])


def _unranked(name: str, side: Side) -> Iterator[NotCompared]:
    number = sum(worker.rank is None for worker in side.last.workers)

    if number:
        yield NotCompared(
            what=f"{name}: {count(number, 'worker')}", ranks=(), why="their ranks are not known"
        )


def _order(difference: Difference) -> tuple[object, ...]:
    return KINDS.index(difference.kind), difference.name, difference.ranks, difference.because or ""


def _compared(common: list[int], pairs: _Pairs) -> Compared:
    names = {kind: len(known) for kind, known in pairs.equal.items()}
    return Compared(
        ranks=len(common),
        variables=names.get("env", 0),
        settings=names.get("config", 0),
        packages=names.get("version", 0),
    )
