"""The log of one rank: how it is asked for, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from dsray_inspect.agent.model import OK, Log
from dsray_inspect.agent.text.logs import STREAMS, missing, state_of
from dsray_inspect.tui.rows import Part, Row, row
from dsray_inspect.tui.source import Source

NO_ANSWER = "The answer cannot be read."


class Asked(NamedTuple):
    """How far the reading of a log is: without one and without a problem, it was not asked for."""

    log: Log | None = None
    problem: str = ""
    is_coming: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What is needed of `stacks --log --json`."""

    logs: dict[str, Log]


def fetch(source: Source, job: str, rank: int) -> Asked:
    """Return the log of a rank, or in one sentence why not; takes seconds."""
    text, problem = source.ask("stacks", job, "--log", f"--rank={rank}", "--json")

    if problem:
        # The first line says what is wrong, the others what to type.
        return Asked(problem=problem.splitlines()[0].removeprefix("error: "))

    try:
        log = msgspec.json.decode(text, type=Answer).logs.get(str(rank))
    except (msgspec.DecodeError, UnicodeError):
        return Asked(problem=NO_ANSWER)

    return Asked(log) if log is not None else Asked(problem=f"Rank {rank} was not found.")


def state_part(asked: Asked, *, is_live: bool) -> Part:
    """Return what stands beside the name of the page's part."""
    if not is_live:
        return ("not in a recording", "dim")

    if asked.problem:
        return (asked.problem, "error")

    if asked.is_coming:
        return ("reading the end of its files …", "accent")

    if asked.log is None:
        return ("L reads the end of its files", "dim")

    return (f"on {asked.log.hostname} · L reads it again", "dim")


def log_rows(log: Log, width: int) -> Iterator[Row]:
    """Yield each file and its lines; a long line goes on below."""
    for number, file in enumerate(log.files):
        name = file.path.rpartition("/")[2]
        yield row(
            f"log {number}",
            (f"   {STREAMS[file.stream]}  ", "bold"),
            (state_of(file), ""),
            (f"  {name}", "dim"),
            copy=file.path,
        )
        yield from (
            row(f"log {number}.{at}.{part}", ("   │ ", "dim"), (text, ""), copy=line)
            for at, line in enumerate(file.lines)
            for part, text in enumerate(pieces(line, max(20, width - 6)))
        )

    if log.why != OK:
        for at, text in enumerate(pieces(missing(log), max(20, width - 4))):
            yield row(f"log why.{at}", (f"   {text}", "warning"))


def pieces(line: str, width: int) -> list[str]:
    return [line[at : at + width] for at in range(0, len(line), width)] or [""]
