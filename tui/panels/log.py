"""The end of a rank's log files: reading it, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from dsray_inspect.agent.model import OK, Log
from dsray_inspect.agent.text.logs import STREAMS, missing, state_of
from dsray_inspect.tui.rows import Part, Row, row
from dsray_inspect.tui.source import Source

_UNREADABLE: Final = "The answer cannot be read."


class LogRequest(NamedTuple):
    """How far the reading of a log has come; without a log or a problem, it was not asked for."""

    log: Log | None = None
    problem: str = ""
    is_pending: bool = False


class _LogDocument(msgspec.Struct, frozen=True):
    """The part of `stacks --log --json` that is used here."""

    logs: dict[str, Log]


def fetch_log(source: Source, job: str, rank: int) -> LogRequest:
    """Return the log of a rank, or the problem in one sentence; takes seconds."""
    text, problem = source.ask("stacks", job, "--log", f"--rank={rank}", "--json")

    if problem:
        # The first line says what is wrong, the others what to type.
        return LogRequest(problem=problem.splitlines()[0].removeprefix("error: "))

    try:
        log = msgspec.json.decode(text, type=_LogDocument).logs.get(str(rank))
    except (msgspec.DecodeError, UnicodeError):
        return LogRequest(problem=_UNREADABLE)

    return LogRequest(log) if log is not None else LogRequest(problem=f"Rank {rank} was not found.")


def request_part(request: LogRequest, *, is_live: bool) -> Part:
    """Return what stands beside the heading of the log."""
    if not is_live:
        return ("not in a recording", "dim")

    if request.problem:
        return (request.problem, "error")

    if request.is_pending:
        return ("reading the end of its files …", "accent")

    if request.log is None:
        return ("press L to read the end of its files", "dim")

    return (f"on {request.log.hostname} · L reads it again", "dim")


def log_rows(log: Log, width: int) -> Iterator[Row]:
    """Yield each file and its lines; long lines are wrapped."""
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
            for part, text in enumerate(_pieces(line, max(20, width - 6)))
        )

    if log.why != OK:
        for at, text in enumerate(_pieces(missing(log), max(20, width - 4))):
            yield row(f"log why.{at}", (f"   {text}", "warning"))


def _pieces(line: str, width: int) -> list[str]:
    return [line[at : at + width] for at in range(0, len(line), width)] or [""]
