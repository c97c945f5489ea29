"""The timeline of an incident file: of its flight recorders, else of what its samples hold of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from dsray_inspect.agent.errors import PermissionMissing, TargetNotFound, UsageError
from dsray_inspect.agent.incident import recorders
from dsray_inspect.agent.incident.reader import RecordedSample, read_incident
from dsray_inspect.agent.incident.replay import Replay
from dsray_inspect.agent.model import Collective, Group
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.process_probe import RecorderReport
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.startup.spans import joined, start_timeline
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.agent.tracing.build import timeline
from dsray_inspect.agent.tracing.capture import TraceCapture
from dsray_inspect.agent.tracing.collectives import Entry
from dsray_inspect.agent.tracing.run import new_capture

_UNKNOWN: Final = "collective"
_ONLY_SAMPLES: Final = "the file has no flight recorders; these are the collectives around pauses that its samples hold"

_Known = dict[tuple[str, int], Entry]


def recorded_timeline(path: Path, found: Replay) -> Timeline:
    """Return the spans that a file has, with the run's start.

    Raises:
        UsageError: They make no sense: the file was changed.
        TargetNotFound: No rank lived.
        PermissionMissing: It holds no collective of any rank.
    """
    try:
        capture = new_capture(found.last)
    except TargetNotFound as error:
        raise TargetNotFound(
            f"{path} has no rank that lived.", help_text=f"dsray-inspect why --from {path}"
        ) from error

    try:
        if found.recorders is not None:
            recorders.fill(capture, found.recorders)
        else:
            _fill_from_samples(capture, path)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{path} is damaged: {error}.", help_text="Record another one, or get it again."
        ) from error

    if not any(rank.kept for rank in capture.ranks):
        raise PermissionMissing(
            f"{path} holds no collective of any rank.",
            help_text=f"dsray-inspect attach --from {path}   says what could be read of each rank.",
        )

    spans = timeline(capture)
    return spans if found.start is None else joined(spans, start_timeline(found.last, found.start))


def _fill_from_samples(capture: TraceCapture, path: Path) -> None:
    """Give the ranks of a capture what the samples hold of their recorders."""
    known: dict[str, _Known] = {}
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    last_at = 0.0

    for item in read_incident(path):
        if isinstance(item, RecordedSample):
            last_at = max(last_at, item.observation.taken_at)
            _add(item.observation, known, groups=groups)

    capture.until_ns = round(last_at * 1e9)
    capture.is_partial = True
    capture.notes.append(_ONLY_SAMPLES)

    for rank in capture.ranks:
        actor_id = rank.worker.actor_id
        rank.group_ranks = groups.get(actor_id, {})
        rank.no_recording = None
        rank.kept = [
            msgspec.structs.replace(entry, id=number)
            for number, entry in enumerate(
                sorted(known.get(actor_id, {}).values(), key=lambda entry: entry.start_ns)
            )
        ]


def _add(
    observation: Observation,
    known: dict[str, _Known],
    *,
    groups: dict[str, dict[str, tuple[int, ...]]],
) -> None:
    """Add what one sample holds; a later one knows better what is over."""
    for row in observation.actors.workers if observation.actors else ():
        report = observation.ranks.get(row.actor_id)
        outside = observation.process(row.node_id, row.pid).recorder
        of_rank = known.setdefault(row.actor_id, {})

        if isinstance(report, RankReport):
            of_rank.update(_arrived(report.arrivals))
            newest = report.collectives if isinstance(report.collectives, tuple) else ()
            of_rank.update(_newest(newest, of_rank, observation.taken_at))
            groups.setdefault(row.actor_id, {}).update(_members(report.groups))

        if isinstance(outside, RecorderReport):
            of_rank.update(_arrived(outside.arrivals))
            of_rank.update(_newest(outside.collectives, of_rank, observation.taken_at))


def _members(groups: tuple[Group, ...]) -> dict[str, tuple[int, ...]]:
    return {group.name: group.ranks for group in groups}


def _arrived(
    arrivals: Mapping[str, object],
) -> Iterator[tuple[tuple[str, int], Entry]]:
    """Yield entries of which only the time is known."""
    for group, times in arrivals.items():
        for sequence, start_ns in times if isinstance(times, (list, tuple)) else ():
            yield (group, sequence), _entry(group, sequence, start_ns=start_ns)


def _newest(
    collectives: tuple[Collective, ...], known: _Known, taken_at: float
) -> Iterator[tuple[tuple[str, int], Entry]]:
    for collective in collectives:
        key = (collective.group, collective.sequence)
        before = known.get(key)
        start_ns = before.start_ns if before else round((taken_at - collective.age_s) * 1e9)
        entry = _entry(collective.group, collective.sequence, start_ns=start_ns)
        yield (
            key,
            msgspec.structs.replace(
                entry,
                operation=collective.operation,
                sizes=collective.sizes,
                dtype=collective.dtype,
                is_over=collective.finished,
            ),
        )


def _entry(group: str, sequence: int, *, start_ns: int) -> Entry:
    return Entry(
        id=0,
        group=group,
        sequence=sequence,
        operation=_UNKNOWN,
        system="unknown",
        sizes=(),
        dtype="unknown",
        start_ns=start_ns,
        is_over=True,
        completed_ns=None,
        duration_ns=None,
        is_p2p=False,
    )
