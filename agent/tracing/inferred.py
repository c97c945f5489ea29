"""The steps of all ranks where nothing counts them: told from the pattern of collectives. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsray_inspect.agent.tracing.capture import TraceCapture
from dsray_inspect.agent.tracing.collectives import Entry
from dsray_inspect.agent.tracing.period import Period, find, occurrences, token
from dsray_inspect.agent.tracing.steps import Step

Key = tuple[str, int]


def number_steps(
    recorded: Mapping[int, Sequence[Entry]], harvest: TraceCapture
) -> dict[int, list[Step]]:
    """Return each rank's steps. A step goes from its first collective to the next step's.

    Steps of ranks that begin with the same collective have the same number. These count from
    the oldest in any recorder, or end at the engine's own count where the run stands still.
    """
    rows = {n: [one for one in found if not one.is_p2p] for n, found in recorded.items()}
    pattern = next((found for one in sorted(rows) if (found := find(rows[one])) is not None), None)

    if pattern is None:
        return {n: [] for n in rows}

    begins = {n: occurrences(found, pattern) for n, found in rows.items()}
    numbers = numbered(rows, begins)
    shift = shift_of(numbers, rows, begins, harvest)
    return {
        n: [
            one
            for one in steps_of(
                found, begins[n], pattern, {k: v + shift for k, v in numbers.items()}
            )
            if one.start_ns >= harvest.from_ns
        ]
        for n, found in rows.items()
    }


def numbered(
    rows: Mapping[int, Sequence[Entry]], begins: Mapping[int, Sequence[int]]
) -> dict[Key, int]:
    """Return the number of each step by the collective that it begins with, in order."""
    earliest: dict[Key, int] = {}

    for n, found in begins.items():
        for at in found:
            one = rows[n][at]
            earliest[one.key] = min(one.start_ns, earliest.get(one.key, one.start_ns))

    return {key: number for number, key in enumerate(sorted(earliest, key=lambda k: earliest[k]))}


def shift_of(
    numbers: Mapping[Key, int],
    rows: Mapping[int, Sequence[Entry]],
    begins: Mapping[int, Sequence[int]],
    harvest: TraceCapture,
) -> int:
    """Return what makes the numbers the engine's: a rank at step N has ended N - 1 last."""
    if harvest.is_hung:
        for n, rank in enumerate(harvest.ranks):
            if rank.worker.step is not None and begins.get(n):
                last = numbers[rows[n][begins[n][-1]].key]
                return rank.worker.step - 1 - last

    return 0


def steps_of(
    rows: Sequence[Entry], begins: Sequence[int], pattern: Period, numbers: Mapping[Key, int]
) -> list[Step]:
    """Return a rank's steps, and the one it is in as an open one.

    A step after which the order breaks off ends with its last collective.
    """
    found: list[Step] = []
    length, first = len(pattern.tokens), pattern.tokens[0]

    for at in begins:
        end = at + length
        follows = end < len(rows) and token(rows[end]) == first
        end_ns = rows[end if follows else end - 1].start_ns
        number = numbers[rows[at].key]
        found.append(Step(number=number, start_ns=rows[at].start_ns, end_ns=end_ns))

        if follows and at == begins[-1]:
            found.append(Step(number=number + 1, start_ns=end_ns, end_ns=None))

    return found
