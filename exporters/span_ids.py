"""Deterministic trace and span ids: two exporters of one run produce the same ids for the same spans.

A trace is one global step of one attempt of a run, or the run's start. A span is identified by its
trace, its process, its name and its index among the spans of that name.
"""

from __future__ import annotations

from hashlib import blake2b

START = "start"
"""Takes the place of the step in the trace id of a run's start."""


def trace_id(run: str, attempt: str, step: int | str) -> int:
    return _hash_id((run, attempt, str(step)), size=16)


def span_id(trace: int, process: str, name: str, index: int) -> int:
    """Return the id of a span; the process "" is the whole run."""
    return _hash_id((f"{trace:032x}", process, name, str(index)), size=8)


def _hash_id(parts: tuple[str, ...], *, size: int) -> int:
    """Return a hash other than 0, which means "no id" in OpenTelemetry."""
    digest = blake2b("\0".join(parts).encode(), digest_size=size).digest()
    return int.from_bytes(digest, "big") or 1
