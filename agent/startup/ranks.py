"""What a rank recorded of its own start, when the job was started by `dsray-inspect submit`.

The writer is `agent.probes.startup`: a file per process, its first line of fixed length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dsray_inspect.agent.model import InitPhase, Record

_VERSION = 1


class RankSpan(Record, frozen=True, kw_only=True):
    """One stretch of a start inside a process; `end_ns` is None while it lasts."""

    name: str
    start_ns: int
    end_ns: int | None
    depth: int
    detail: str | None = None


class RankStart(Record, frozen=True, kw_only=True):
    """The start as one process has recorded it."""

    pid: int
    spans: tuple[RankSpan, ...]
    lost: int = 0
    """Spans that found no room in the file."""

    def find(self, name: str) -> RankSpan | None:
        return next((span for span in self.spans if span.name == name), None)

    @property
    def trained_ns(self) -> int | None:
        span = self.find("train_func")
        return span.start_ns if span else None

    @property
    def initialize_ns(self) -> int | None:
        span = self.find("initialize")
        return span.start_ns if span else None

    @property
    def initialized_ns(self) -> int | None:
        span = self.find("initialize")
        return span.end_ns if span else None

    @property
    def stepped_ns(self) -> int | None:
        span = self.find("first_step")
        return span.end_ns if span else None

    @property
    def import_ns(self) -> int:
        return sum(length(span) for span in self.spans if span.name == "import deepspeed")

    def phases(self) -> tuple[InitPhase, ...]:
        """Return DeepSpeed's import and each phase of `deepspeed.initialize` that has ended."""
        return tuple(
            InitPhase(phase=f"{span.name}:{span.detail}" if span.detail else span.name, seconds=s)
            for span in self.spans
            if span.name not in ("train_func", "first_step", "rendezvous", "process")
            and (s := length(span) / 1e9)
        )


def length(span: RankSpan) -> int:
    return span.end_ns - span.start_ns if span.end_ns is not None else 0


def parse(text: str) -> RankStart | None:
    """Return what a record file holds; None where it is another version's, or none at all.

    A line that is cut off, because it was being written, is left out.
    """
    lines = [line for line in map(_loaded, text.splitlines()) if line is not None]

    if not lines or lines[0].get("v") != _VERSION:
        return None

    head = lines[0]
    ends = {line["i"]: line["e"] for line in lines[1:] if "e" in line}
    return RankStart(
        pid=int(head["pid"]),
        spans=tuple(_spans_of(lines[1:], ends)),
        lost=int(head.get("lost") or 0),
    )


def _loaded(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None

    return found if isinstance(found, dict) else None


def _spans_of(lines: Iterable[dict[str, Any]], ends: dict[int, int]) -> Iterable[RankSpan]:
    for line in lines:
        if "n" in line:
            yield RankSpan(
                name=line["n"],
                start_ns=line["b"],
                end_ns=ends.get(line["i"]),
                depth=line.get("d", 0),
                detail=line.get("a"),
            )
