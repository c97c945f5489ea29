"""The ends of ranks' log files as text."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.model import OK, Log, LogFile, Snapshot
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.agent.text.style import PLAIN, Style

STREAMS = {"stdout": "stdout", "stderr": "stderr", "train": "Ray Train"}
"""What a file is called, by its stream."""


def logs_text(snapshot: Snapshot, style: Style = PLAIN) -> str:
    """Return the requested logs, one rank after the other; empty if none was requested."""
    logs = [(worker.rank, worker.log) for worker in snapshot.workers if worker.log is not None]
    return "\n\n".join("\n".join(_log_lines(rank, log, style)) for rank, log in logs)


def _log_lines(rank: int | None, log: Log, style: Style) -> Iterator[str]:
    yield f"{style.paint(f'log of rank {rank}', 'bold')}  on {log.hostname}"

    for file in log.files:
        yield f"  {style.paint(STREAMS[file.stream], 'bold')}  {state_of(file)}  {file.path}"
        yield from (f"  │ {line}".rstrip() for line in file.lines)

    if log.why != OK:
        yield f"  {missing(log)}"


def missing(log: Log) -> str:
    """Return why a file is not there, in one sentence."""
    return f"{'Not all' if log.files else 'None'} could be read: {log.why}."


def state_of(file: LogFile) -> str:
    """Return how much of a file is shown, and how old that is."""
    if not file.lines and file.is_whole:
        return "nothing was written to it"

    what = "whole" if file.is_whole else f"the last {len(file.lines)} lines"
    return f"{what}, written {duration(file.age_s)} ago"
