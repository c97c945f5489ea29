"""What a benchmark found: samples of both sides, their ratio, and the limit it is held to."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec


class LeftOut(Exception):
    """A benchmark cannot be had on this machine; says what to do about it."""


class Result(msgspec.Struct, kw_only=True):
    """One comparison. Samples are in `unit`, taken in turns, so that noise hits both sides."""

    name: str
    ours: str
    theirs: str
    unit: str
    our_samples: list[float]
    their_samples: list[float]
    limit: float
    better: Literal["lower", "higher"] = "lower"
    notes: list[str] = []

    @property
    def ratio(self) -> float:
        """The median of ours over the median of theirs."""
        return statistics.median(self.our_samples) / statistics.median(self.their_samples)

    @property
    def held(self) -> bool:
        return self.ratio <= self.limit if self.better == "lower" else self.ratio >= self.limit


def table(results: Sequence[Result]) -> str:
    lines = []

    for result in results:
        sign = "≤" if result.better == "lower" else "≥"
        mark = "" if result.held else "   MISSED"
        lines += [
            f"{result.name}: {result.ratio:.2f}   (held to {sign} {result.limit:g}){mark}",
            f"    {spread(result.our_samples, result.unit):32} {result.ours}",
            f"    {spread(result.their_samples, result.unit):32} {result.theirs}",
            *(f"    {note}" for note in result.notes),
        ]

    return "\n".join(lines)


def spread(samples: Sequence[float], unit: str) -> str:
    low, high = min(samples), max(samples)
    return f"{statistics.median(samples):8.1f} {unit} ({low:.1f} to {high:.1f})"


def keep(results: Sequence[Result], path: Path) -> None:
    """Write every sample down, with what machine they come from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "results": [{**msgspec.to_builtins(result), "ratio": result.ratio} for result in results],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
