"""Infers the steps of all ranks from the pattern of their collectives. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsray_inspect.agent.tracing.capture import TraceCapture
from dsray_inspect.agent.tracing.collectives import Entry
from dsray_inspect.agent.tracing.period import Period, collective_token, find_period, occurrences
from dsray_inspect.agent.tracing.steps import Step

Key = tuple[str, int]


def infer_steps(
    recorded: Mapping[int, Sequence[Entry]], capture: TraceCapture
) -> dict[int, list[Step]]:
    """Return the steps of each rank; a step lasts from its first collective to the next step's.

    Steps that begin with the same collective have the same number on all ranks. Numbers count from
    the oldest step in any recorder, or match the engine's own count if the run is hung.
    """
    rows = {
        index: [entry for entry in found if not entry.is_p2p] for index, found in recorded.items()
    }
    pattern = next(
        (found for index in sorted(rows) if (found := find_period(rows[index])) is not None), None
    )

    if pattern is None:
        return {index: [] for index in rows}

    begins = {index: occurrences(found, pattern) for index, found in rows.items()}
    numbers = _numbers(rows, begins)
    offset = _offset(numbers, rows, begins, capture)
    return {
        index: [
            step
            for step in _rank_steps(
                found, begins[index], pattern, {key: n + offset for key, n in numbers.items()}
            )
            if step.start_ns >= capture.from_ns
        ]
        for index, found in rows.items()
    }


def _numbers(
    rows: Mapping[int, Sequence[Entry]], begins: Mapping[int, Sequence[int]]
) -> dict[Key, int]:
    """Return the number of each step, by the collective it begins with."""
    earliest: dict[Key, int] = {}

    for index, found in begins.items():
        for at in found:
            entry = rows[index][at]
            earliest[entry.key] = min(entry.start_ns, earliest.get(entry.key, entry.start_ns))

    return {
        key: number for number, key in enumerate(sorted(earliest, key=lambda key: earliest[key]))
    }


def _offset(
    numbers: Mapping[Key, int],
    rows: Mapping[int, Sequence[Entry]],
    begins: Mapping[int, Sequence[int]],
    capture: TraceCapture,
) -> int:
    """Return the offset to the engine's numbers: a rank at step N has last completed N - 1."""
    if capture.is_hung:
        for index, rank in enumerate(capture.ranks):
            if rank.worker.step is not None and begins.get(index):
                last = numbers[rows[index][begins[index][-1]].key]
                return rank.worker.step - 1 - last

    return 0


def _rank_steps(
    rows: Sequence[Entry], begins: Sequence[int], pattern: Period, numbers: Mapping[Key, int]
) -> list[Step]:
    """Return a rank's steps; the current one is open.

    A step after which the pattern breaks off ends with its last collective.
    """
    found: list[Step] = []
    length, first = len(pattern.tokens), pattern.tokens[0]

    for at in begins:
        end = at + length
        follows = end < len(rows) and collective_token(rows[end]) == first
        end_ns = rows[end if follows else end - 1].start_ns
        number = numbers[rows[at].key]
        found.append(Step(number=number, start_ns=rows[at].start_ns, end_ns=end_ns))

        if follows and at == begins[-1]:
            found.append(Step(number=number + 1, start_ns=end_ns, end_ns=None))

    return found
