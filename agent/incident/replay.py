"""Judges the samples of an incident file again, as the session that took them judged them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.feed import Event, HistoryLoaded, SampleTaken, sharing_parts
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.layout import Header, LogsPart, Manifest
from dsray_inspect.agent.incident.parts import Damaged
from dsray_inspect.agent.incident.public_items import public_items
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.reader import (
    Item,
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

T = TypeVar("T")


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
        return with_logs(self.last, self.logs, lines)


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
        publisher: Gives what is read other names, as if the file were public.

    Raises:
        UsageError: It cannot be read, or holds no sample.
    """
    items = read_incident(path)
    items = items if publisher is None else public_items(items, publisher)
    header = next(item for item in items if isinstance(item, Header))
    chain = SampleChain(CommandHint(words=header.hint))
    snapshots: deque[Snapshot] = deque(maxlen=keep)
    unknown: list[str] = []
    found: dict[type, object] = {}

    for item in _judged(items, chain, all_threads=all_threads, start=start):
        if isinstance(item, JudgedSample):
            before = snapshots[-1] if snapshots else None
            snapshots.append(sharing_parts(item.snapshot, before) if before else item.snapshot)
            found[Read] = item.start
        elif isinstance(item, UnknownPart):
            unknown.append(item.name)
        else:
            found[type(item)] = item

    damage, logs = _found(found, Damaged), _found(found, LogsPart)

    if not snapshots:
        raise unreadable(path, damage)

    return Replay(
        header=header,
        snapshots=tuple(snapshots),
        logs=logs.logs if logs is not None else {},
        history=_found(found, History),
        recorders=_found(found, RecordersPart),
        doctor=_found(found, Diagnosis),
        start=_found(found, Read),
        manifest=_found(found, Manifest),
        unknown=tuple(unknown),
        damage=damage,
    )


class JudgedSample(NamedTuple):
    snapshot: Snapshot
    start: Read | None


def _judged(
    items: Iterable[Item], chain: SampleChain, *, all_threads: bool, start: bool
) -> Iterator[Item | JudgedSample]:
    """Yield the items of a file with snapshots in place of its samples.

    A sample that makes no sense ends it as damage does: the file was changed.
    """
    for item in items:
        if not isinstance(item, RecordedSample):
            yield item
            continue

        try:
            snapshot = chain.add(item.observation, all_threads=all_threads)
            judged = with_start(snapshot, item.start) if start else snapshot
        except Exception:
            yield Damaged("damaged", "")
            return

        yield JudgedSample(judged, item.start)


def _found(parts: Mapping[type, object], kind: type[T]) -> T | None:
    part = parts.get(kind)
    return part if isinstance(part, kind) else None


def with_logs(snapshot: Snapshot, logs: dict[str, Log], lines: int) -> Snapshot:
    """Return a snapshot with so many lines of the ranks' log files, by actor id."""
    workers = tuple(_with_log(worker, logs, lines) for worker in snapshot.workers)
    return msgspec.structs.replace(snapshot, workers=workers)


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
