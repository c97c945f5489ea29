"""Ids of traces and spans that everybody computes alike, so that parts of one trace may come from anywhere.

A trace is one global step of one attempt of a run, or the run's start; a span is told by its
process, its name and how many of that name came before it.
"""

from __future__ import annotations

from hashlib import blake2b

START = "start"
"""Stands for the step in the id of the trace of a run's start."""


def trace_id(run: str, attempt: str, step: int | str) -> int:
    return number((run, attempt, str(step)), size=16)


def span_id(trace: int, process: str, name: str, n: int) -> int:
    """Return the id of the `n`th span of that name in a process; "" is the whole run."""
    return number((f"{trace:032x}", process, name, str(n)), size=8)


def number(parts: tuple[str, ...], *, size: int) -> int:
    """Return a hash that is not 0, which stands for no id."""
    digest = blake2b("\0".join(parts).encode(), digest_size=size).digest()
    return int.from_bytes(digest, "big") or 1
