"""Judges the samples of an incident file again, as the session that took them judged them."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.feed import Event, HistoryLoaded, SampleTaken, sharing_parts
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.layout import Header, LogsPart, Manifest
from dsray_inspect.agent.incident.parts import Damaged
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.reader import (
    RecordedSample,
    UnknownPart,
    read_incident,
    unreadable,
)
from dsray_inspect.agent.incident.recorders import RecordersPart
from dsray_inspect.agent.model import Log, LogFile, Snapshot, Worker
from dsray_inspect.agent.sample_chain import SampleChain
from dsray_inspect.agent.startup.enrich import with_start
from dsray_inspect.agent.startup.reader import Read
from dsray_inspect.agent.text.command_hint import CommandHint


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds, judged."""

    header: Header
    snapshots: tuple[Snapshot, ...]
    """As many of the newest as were asked for, the newest last."""
    logs: dict[str, Log]
    """By actor id."""
    history: History | None
    recorders: RecordersPart | None
    doctor: Diagnosis | None
    start: Read | None
    """What was read of the run's start by the last sample."""
    manifest: Manifest | None
    """None where the end of the file is missing."""
    unknown: tuple[str, ...]
    """The parts that this version does not know."""
    damage: Damaged | None

    @property
    def last(self) -> Snapshot:
        return self.snapshots[-1]

    def explanation(self) -> Explanation:
        """Return what `why` said of the last two samples."""
        return explain(self.snapshots[-2:])

    def events(self) -> list[Event]:
        """Return the snapshots as a terminal shows them, and what the ranks did before."""
        events: list[Event] = [SampleTaken(snapshot=snapshot) for snapshot in self.snapshots]

        if self.history is not None:
            events.insert(1, HistoryLoaded(history=self.history))

        return events

    def with_logs(self, lines: int) -> Snapshot:
        """Return the last snapshot with so many lines of the ranks' log files."""
        workers = tuple(_with_log(worker, self.logs, lines) for worker in self.last.workers)
        return msgspec.structs.replace(self.last, workers=workers)


def replay(
    path: Path,
    *,
    keep: int | None = 2,
    all_threads: bool = False,
    start: bool = False,
    publisher: Publisher | None = None,
) -> Replay:
    """Judge the samples of a file.

    Args:
        path: The file.
        keep: How many snapshots to keep, the newest; None for all.
        all_threads: Whether stacks are to have all threads.
        start: Whether snapshots are to have the run's start and its costs.
        publisher: Replaces names in samples and in the past, as in a public file.

    Raises:
        UsageError: It cannot be read, or holds no sample.
    """
    items = read_incident(path)
    header = next(item for item in items if isinstance(item, Header))
    chain = SampleChain(CommandHint(words=header.hint))
    snapshots: deque[Snapshot] = deque(maxlen=keep)
    found: dict[type, Any] = {}
    unknown: list[str] = []

    for item in items:
        if isinstance(item, RecordedSample):
            sample = item if publisher is None else _published(item, publisher)
            snapshot = _judged(chain, sample, all_threads=all_threads, start=start)
            found[Read] = sample.start

            if snapshot is None:
                found[Damaged] = Damaged("damaged", "")
                break

            before = snapshots[-1] if snapshots else None
            snapshots.append(sharing_parts(snapshot, before) if before is not None else snapshot)
        elif isinstance(item, UnknownPart):
            unknown.append(item.name)
        else:
            found[type(item)] = item

    if not snapshots:
        raise unreadable(path, found.get(Damaged))

    if publisher is not None and History in found:
        found[History] = publisher.history(found[History])

    return Replay(
        header=header,
        snapshots=tuple(snapshots),
        logs=found[LogsPart].logs if LogsPart in found else {},
        history=found.get(History),
        recorders=found.get(RecordersPart),
        doctor=found.get(Diagnosis),
        start=found.get(Read),
        manifest=found.get(Manifest),
        unknown=tuple(unknown),
        damage=found.get(Damaged),
    )


def _published(sample: RecordedSample, publisher: Publisher) -> RecordedSample:
    start = publisher.start(sample.start) if sample.start is not None else None
    return sample._replace(observation=publisher.observation(sample.observation), start=start)


def _judged(
    chain: SampleChain, sample: RecordedSample, *, all_threads: bool, start: bool
) -> Snapshot | None:
    """Return the snapshot of a sample, None where it makes no sense: the file was changed."""
    try:
        snapshot = chain.add(sample.observation, all_threads=all_threads)
        return with_start(snapshot, sample.start) if start else snapshot
    except Exception:
        return None


def _with_log(worker: Worker, logs: dict[str, Log], lines: int) -> Worker:
    log = logs.get(worker.actor_id)

    if log is None:
        missing = Log(hostname=worker.hostname, files=(), why="it is not in the incident file")
        return msgspec.structs.replace(worker, log=missing)

    files = tuple(_last_lines(file, lines) for file in log.files)
    return msgspec.structs.replace(worker, log=msgspec.structs.replace(log, files=files))


def _last_lines(file: LogFile, lines: int) -> LogFile:
    if len(file.lines) <= lines:
        return file

    return msgspec.structs.replace(file, lines=file.lines[-lines:], is_whole=False)
