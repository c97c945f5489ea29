"""Steps told from collectives alone: what repeats itself is a step.

Pure. Training enters the same collectives in the same order, step after step. The period of that
order is the global step; with gradient accumulation it holds the micro steps. Where in it a step
begins cannot be told for sure: it is taken to be after the longest pause, which is where a batch
is loaded.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Sequence

import msgspec

from dsray_inspect.agent.tracing.collectives import Entry

LEAST_REPEATS = 3
LONGEST = 600
"""The recorder's 2,000 entries hold so long a period three times."""
WINDOW = 256
LEAST_ALIKE = 0.6
"""The part of the entries that must be as one period earlier; checkpoints and hangs are not."""
Token = tuple[str, str, tuple[tuple[int, ...], ...]]


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A step as a row of collectives."""

    tokens: tuple[Token, ...]


def token(one: Entry) -> Token:
    return one.group, one.operation, one.sizes


def find(rows: Sequence[Entry]) -> Period | None:
    """Return the step of a rank; None where nothing repeats itself."""
    names: dict[Token, int] = {}
    tokens = [names.setdefault(token(one), len(names)) for one in rows]
    length = period(tokens)

    if length is None:
        return None

    low, high = longest_run(tokens, length)
    region = rows[low:high]

    if len(region) < 2 * length:
        return None

    begin = begin_of_step(region, length)
    return Period(tokens=tuple(token(one) for one in region[begin : begin + length]))


def period(tokens: Sequence[int]) -> int | None:
    """Return the shortest period that the newest entries keep about as well as any other."""
    count = len(tokens)
    alike: dict[int, float] = {}

    for length in range(1, min(LONGEST, count // LEAST_REPEATS) + 1):
        window = min(count - length, max(WINDOW, (LEAST_REPEATS - 1) * length))
        now = tokens[count - window :]
        before = tokens[count - window - length : count - length]
        alike[length] = sum(map(operator.eq, now, before)) / window

    best = max(alike.values(), default=0.0)

    if best < LEAST_ALIKE:
        return None

    return next(length for length, ratio in alike.items() if ratio >= 0.97 * best)


def longest_run(tokens: Sequence[int], length: int) -> tuple[int, int]:
    """Return begin and end of the longest stretch that is strictly periodic, the newest of these."""
    best, begin = (0, 0), None

    for at in range(length, len(tokens) + 1):
        if at < len(tokens) and tokens[at] == tokens[at - length]:
            begin = at if begin is None else begin
        elif begin is not None:
            if at - begin >= best[1] - best[0] - length:
                best = (begin - length, at)

            begin = None

    return best


def begin_of_step(rows: Sequence[Entry], length: int) -> int:
    """Return the index, below `length`, at which a step begins: after the longest pause.

    `rows` is strictly periodic.
    """
    pauses: dict[int, list[int]] = {at: [] for at in range(length)}

    for at in range(1, len(rows)):
        pauses[at % length].append(rows[at].start_ns - rows[at - 1].start_ns)

    return max(pauses, key=lambda at: statistics.median(pauses[at]) if pauses[at] else 0)


def occurrences(rows: Sequence[Entry], pattern: Period) -> list[int]:
    """Return the indices of the entries with which whole steps begin."""
    tokens = [token(one) for one in rows]
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
