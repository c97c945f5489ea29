"""Finds the period in a sequence of collectives: one period is one step.

Pure. Training enters the same collectives in the same order, step after step. The period of that
sequence is the global step; with gradient accumulation it contains the micro steps. The start of a
step within the period is not certain: it is assumed to follow the longest pause, which is where a
batch is loaded.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Sequence

import msgspec

from dsray_inspect.agent.tracing.collectives import Entry

_MIN_REPEATS = 3
_MAX_PERIOD = 600
"""The recorder's 2,000 entries contain a period of this length three times."""
_WINDOW = 256
"""How many of the newest entries are compared, at least."""
_MIN_EQUAL = 0.6
"""The share of entries that must equal those one period earlier; checkpoints and hangs do not."""
Token = tuple[str, str, tuple[tuple[int, ...], ...]]


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A step as a sequence of collectives."""

    tokens: tuple[Token, ...]


def collective_token(entry: Entry) -> Token:
    """Return what identifies a collective within a step."""
    return entry.group, entry.operation, entry.sizes


def find_period(rows: Sequence[Entry]) -> Period | None:
    """Return the step of a rank, None if nothing repeats."""
    names: dict[Token, int] = {}
    tokens = [names.setdefault(collective_token(entry), len(names)) for entry in rows]
    length = _period_length(tokens)

    if length is None:
        return None

    low, high = _longest_run(tokens, length)
    region = rows[low:high]

    if len(region) < 2 * length:
        return None

    begin = _step_start(region, length)
    return Period(tokens=tuple(collective_token(entry) for entry in region[begin : begin + length]))


def _period_length(tokens: Sequence[int]) -> int | None:
    """Return the shortest period that fits the newest entries about as well as the best one."""
    count = len(tokens)
    equal: dict[int, float] = {}

    for length in range(1, min(_MAX_PERIOD, count // _MIN_REPEATS) + 1):
        window = min(count - length, max(_WINDOW, (_MIN_REPEATS - 1) * length))
        current = tokens[count - window :]
        previous = tokens[count - window - length : count - length]
        equal[length] = sum(map(operator.eq, current, previous)) / window

    best = max(equal.values(), default=0.0)

    if best < _MIN_EQUAL:
        return None

    return next(length for length, ratio in equal.items() if ratio >= 0.97 * best)


def _longest_run(tokens: Sequence[int], length: int) -> tuple[int, int]:
    """Return start and end of the longest strictly periodic run, the newest of equally long ones."""
    best, begin = (0, 0), None

    for at in range(length, len(tokens) + 1):
        if at < len(tokens) and tokens[at] == tokens[at - length]:
            begin = at if begin is None else begin
        elif begin is not None:
            if at - begin >= best[1] - best[0] - length:
                best = (begin - length, at)

            begin = None

    return best


def _step_start(rows: Sequence[Entry], length: int) -> int:
    """Return the index below `length` at which a step begins: after the longest pause.

    `rows` must be strictly periodic.
    """
    pauses: dict[int, list[int]] = {at: [] for at in range(length)}

    for at in range(1, len(rows)):
        pauses[at % length].append(rows[at].start_ns - rows[at - 1].start_ns)

    return max(pauses, key=lambda at: statistics.median(pauses[at]) if pauses[at] else 0)


def occurrences(rows: Sequence[Entry], pattern: Period) -> list[int]:
    """Return the indices at which complete steps begin."""
    tokens = [collective_token(entry) for entry in rows]
    wanted = list(pattern.tokens)
    found: list[int] = []
    at = 0

    while at + len(wanted) <= len(tokens):
        if tokens[at] == wanted[0] and tokens[at : at + len(wanted)] == wanted:
            found.append(at)
            at += len(wanted)
        else:
            at += 1

    return found
