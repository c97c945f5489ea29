"""Whom the errors of a group that has ended point at: its victims speak, and the culprit may not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.train_log import Failure, ranks_of
from dsray_inspect.agent.detectors.evidence.tracebacks import user_place
from dsray_inspect.agent.model import Record

COLLECTIVE_TIMEOUT = re.compile(
    r"Timed out waiting \d+ ?ms for (?:recv|send)|collective operation timeout|Watchdog caught"
    r"|Timeout\(ms\)=\d+.* ran for|Wait timeout|monitored ?[Bb]arrier.* timed out"
)
"""Errors of ranks that have waited for another in a collective until its group gave up."""
LAST_ENQUEUED = re.compile(r"last enqueued (?:NCCL )?work: (\d+)")

Because = Literal["silent", "last", "elsewhere"]
"""They are the only ranks without an error; or were last to the group, by its count of collectives;
or are the only ones whose error is in another function of the user's."""


class Suspects(Record, frozen=True, kw_only=True):
    """The ranks that the errors of the others point at, and by what."""

    ranks: tuple[int, ...]
    because: Because | None = None
    place: str | None = None
    """Where the suspects were, "train.py:25, in save"."""


NOBODY = Suspects(ranks=())


def suspects(sample: AnalysisInput, failed: Sequence[Failure]) -> Suspects:
    """Return whom the errors point at, nobody where each rank has one and all are alike."""
    counts = _last_enqueued(sample)

    if len(counts) > 1 and min(counts.values()) < max(counts.values()):
        least = min(counts.values())
        behind = tuple(sorted(rank for rank, count in counts.items() if count == least))

        if len(behind) * 2 < len(counts):
            return Suspects(ranks=behind, because="last")

    spoke = {rank for failure in failed for rank in failure.ranks} | set(counts)
    silent = tuple(sorted(_known_ranks(sample) - spoke))

    if silent:
        is_few = len(silent) * 2 < len(silent) + len(spoke)
        return Suspects(ranks=silent, because="silent") if is_few else NOBODY

    return _elsewhere(failed)


def _elsewhere(failed: Sequence[Failure]) -> Suspects:
    """Return the few ranks that failed at another line of the user's than all others."""
    by_function: dict[str, list[int]] = {}
    places: dict[str, str] = {}

    for failure in failed:
        place = user_place(failure.text)

        if place is None:
            return NOBODY

        by_function.setdefault(place.name, []).extend(failure.ranks)
        places[place.name] = f"{place.file}:{place.line}, in {place.name}"

    if len(by_function) != 2:
        return NOBODY

    few, many = sorted(by_function, key=lambda name: len(by_function[name]))
    is_clear = len(by_function[few]) < len(by_function[many])
    found = tuple(sorted(by_function[few]))
    return Suspects(ranks=found, because="elsewhere", place=places[few]) if is_clear else NOBODY


def gave_up(lines: Sequence[str]) -> bool:
    """Tell whether a rank's last words are those of one that waited for another in vain."""
    return any(COLLECTIVE_TIMEOUT.search(line) for line in lines)


def _known_ranks(sample: AnalysisInput) -> set[int]:
    ranks = {member.worker.rank for member in sample.members} | set(
        ranks_of(sample.observation).values()
    )
    return {rank for rank in ranks if rank is not None}


def _last_enqueued(sample: AnalysisInput) -> Mapping[int, int]:
    """Return by rank how many collectives it had enqueued when NCCL's watchdog ended it."""
    words = {
        worker_id: lines
        for report in sample.observation.node_reports.values()
        if report.post_mortem is not None
        for worker_id, lines in report.post_mortem.last_words.items()
    }
    found = {}

    for member in sample.members:
        counts = [
            int(number)
            for line in words.get(member.worker.worker_id, ())
            for number in LAST_ENQUEUED.findall(line)
        ]

        if counts and member.worker.rank is not None:
            found[member.worker.rank] = max(counts)

    return found
