"""`env_diff`: which variables differ between ranks, those first that should not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.environment import Difference, ValueOnRanks, differences
from dsray_inspect.agent.mcp.answers.stacks import unread_notes
from dsray_inspect.agent.mcp.documents import EnvDiffAnswer
from dsray_inspect.agent.mcp.job_text import NAME, NOTICE, VALUE, clean
from dsray_inspect.agent.mcp.notes import EnvNote, NameText, ValueNote, ValueText
from dsray_inspect.agent.mcp.room import Room
from dsray_inspect.agent.mcp.sample import Sample, head_of, limits_of, rank_ranges
from dsray_inspect.agent.model import EnvVar

_MOST_VALUES: Final = 4


def env_answer(sample: Sample, tokens: int, now: float, *, name: str = "") -> EnvDiffAnswer:
    """Return what differs; with a name, all variables that have it in theirs."""
    workers = sample.snapshot.workers
    known = {
        worker.rank: worker.env for worker in workers if worker.rank is not None and worker.env
    }
    drift, expected = all_differences(sample)
    answer = EnvDiffAnswer(
        notice=NOTICE,
        sample=head_of(sample, now),
        does_not_prove=limits_of(sample),
        ranks_read=len(known),
    )
    room = Room(tokens, answer)
    count = len(drift)
    notes = [
        (n, env_note(difference, id=sample.id_of("e", n)))
        for n, difference in enumerate((*drift, *expected))
        if name.lower() in difference.name.lower()
    ]
    drifts, more_drifts = room.take((note for n, note in notes if n < count), share=0.7)
    unread, more_unread = room.take(unread_notes(workers, "env"), share=0.3)
    others, more_others = room.take((note for n, note in notes if n >= count), share=0.8)
    equal, more_equal = room.take(_equal(known, name) if name else ())
    return msgspec.structs.replace(
        answer,
        drift=drifts,
        drift_left_out=more_drifts,
        expected=others,
        expected_left_out=more_others,
        equal=equal,
        equal_left_out=more_equal,
        unread=unread,
        unread_left_out=more_unread,
    )


def all_differences(sample: Sample) -> tuple[Sequence[Difference], Sequence[Difference]]:
    """Return what differs and should not, and what differs as it should."""
    workers = sample.snapshot.workers
    found = differences({worker.rank: worker.env for worker in workers if worker.rank is not None})
    return found.drift, found.expected


def env_note(difference: Difference, *, id: str, most: int = _MOST_VALUES) -> EnvNote:
    shown = difference.values[:most]
    return EnvNote(
        id=id,
        values=tuple(map(value_note, shown)),
        values_left_out=len(difference.values) - len(shown),
        untrusted=NameText(name=clean(difference.name, NAME)),
    )


def value_note(value: ValueOnRanks) -> ValueNote:
    return ValueNote(
        ranks=rank_ranges(value.ranks),
        source=value.source,
        untrusted=ValueText(value=None if value.value is None else clean(value.value, VALUE)),
    )


def _equal(known: dict[int, dict[str, EnvVar]], name: str) -> Iterable[EnvNote]:
    """Yield the variables of this name that are the same on all ranks."""
    ranks = tuple(known)
    first = next(iter(known.values()), {})

    for key, held in first.items():
        is_same = all(
            (other := env.get(key)) and other.value == held.value for env in known.values()
        )

        if name.lower() in key.lower() and is_same:
            value = ValueOnRanks(value=held.value, source=held.source, ranks=ranks)
            yield EnvNote(values=(value_note(value),), untrusted=NameText(name=clean(key, NAME)))
