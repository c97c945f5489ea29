"""Numbers, ranks, places and lists in words: the one home of number agreement and units."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from dsray_inspect.agent.model import Collective

_MOST_RANGES = 8
"""How many ranks or ranges of ranks are listed before the rest is only counted."""


def duration(seconds: float) -> str:
    """Return "48 ms", "3.2 s", "4 min 12 s" or "2 h 5 min"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"

    if seconds < 60:
        return f"{seconds:.1f} s"

    whole = int(seconds)

    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"

    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: int) -> str:
    """Return "4 B", "65.0 KiB" or "1.5 GiB"."""
    if count < 1024:
        return f"{count} B"

    value = float(count)

    for unit in ("KiB", "MiB"):
        value /= 1024

        if value < 1024:
            return f"{value:.1f} {unit}"

    return f"{value / 1024:.1f} GiB"


def agree(items: Sized | int, singular: str, plural: str) -> str:
    """Return the form that fits the number of items."""
    number = items if isinstance(items, int) else len(items)
    return singular if number == 1 else plural


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return "1 rank" or "3 ranks"."""
    return f"{number} {agree(number, noun, plural or f'{noun}s')}"


def name_ranks(ranks: Sequence[int | None]) -> str:
    """Return "rank 1", "ranks 0-3, 7", "ranks 0, 2, … (128 ranks)", or "2 workers" of unknown rank."""
    known = sorted(rank for rank in ranks if rank is not None)

    if not ranks:
        return "a rank"

    if len(known) < len(ranks):
        return agree(ranks, "a worker", f"{len(ranks)} workers")

    parts = _ranges(known)
    more = f" … ({len(ranks)} ranks)" if len(parts) > _MOST_RANGES else ""
    return f"{agree(known, 'rank', 'ranks')} {', '.join(parts[:_MOST_RANGES])}{more}"


def compact(numbers: Sequence[int]) -> str:
    """Return "0-3, 7" for 0, 1, 2, 3, 7."""
    return ", ".join(_ranges(numbers))


def _ranges(numbers: Sequence[int]) -> list[str]:
    parts: list[str] = []
    start = previous = None

    for number in [*numbers, None]:
        if start is not None and (number is None or previous is None or number != previous + 1):
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = number
        elif start is None:
            start = number

        previous = number

    return parts


def collective_name(collective: Collective) -> str:
    """Return "all_reduce #69 (16,640 float, group 1)"."""
    sizes = " × ".join(f"{length:,}" for length in (collective.sizes or ((),))[0])
    what = f"{sizes or 'scalar'} {collective.dtype}, " if collective.dtype != "unknown" else ""
    return f"{collective.operation} #{collective.sequence} ({what}group {collective.group})"


def sentence(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
