"""Incident files that were opened: their samples, by handle."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from dsray_inspect.agent.errors import TargetNotFound, UsageError
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.incident.replay import Replay, replay
from dsray_inspect.agent.mcp.answers.jobs import OpenedFile
from dsray_inspect.agent.mcp.incident_files import IncidentFiles
from dsray_inspect.agent.mcp.notes import VerdictChangeNote
from dsray_inspect.agent.mcp.sample import Sample, utc, verdict_note

_KEPT: Final = 4
"""So many files are kept in memory, those asked about last."""
_MOST_SAMPLES: Final = 40
"""So many of a file's newest samples are kept."""
_MOST_RANK_SAMPLES: Final = 40_000
"""Ranks times samples of a file that are kept: a large run has fewer."""


class _Opened(msgspec.Struct, frozen=True):
    """One file, and the number of the first of its samples that is kept."""

    name: str
    found: Replay
    first: int


class OpenedIncidents:
    """The files that were opened, each under a handle such as i1."""

    def __init__(self, files: IncidentFiles) -> None:
        self._files = files
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._count = 0

    def handle_of(self, name: str) -> str:
        return next((handle for handle, opened in self._opened.items() if opened.name == name), "")

    def open(self, name: str) -> tuple[Sample, OpenedFile]:
        """Open a file; returns its newest sample.

        Raises:
            UsageError: It may not be opened, or is no incident file.
            TargetNotFound: There is no such file.
        """
        handle = self.handle_of(name)

        if not handle:
            opened = self._read(name)
            self._count += 1
            handle = f"i{self._count}"
            self._opened[handle] = opened

            if len(self._opened) > _KEPT:
                self._opened.popitem(last=False)

        return self.newest(handle), self._summary(handle)

    def newest(self, handle: str) -> Sample:
        """Return the newest sample of a file that was opened.

        Raises:
            TargetNotFound: There is no such handle.
        """
        opened = self._of(handle)
        return _sample(handle, opened, opened.first + len(opened.found.snapshots) - 1)

    def sample(self, id: str) -> Sample:
        """Return a sample by its id.

        Raises:
            TargetNotFound: It is not kept.
        """
        handle, _, number = id.partition(".")
        opened = self._of(handle)

        if not 0 <= int(number) - opened.first < len(opened.found.snapshots):
            raise TargetNotFound(
                f"{id} is not kept.", help_text="history names the samples of a file."
            )

        return _sample(handle, opened, int(number))

    def replay_of(self, handle: str) -> Replay:
        return self._of(handle).found

    def changes(self, handle: str) -> tuple[list[VerdictChangeNote], int]:
        """Return each verdict of a file when it was first given, and of how many samples."""
        opened = self._of(handle)
        kept = [(snapshot.taken_at, snapshot.verdict) for snapshot in opened.found.snapshots]
        earlier = opened.found.manifest.verdicts if opened.found.manifest is not None else ()
        before = [(given.at, given.verdict) for given in earlier if given.at < kept[0][0]]
        found: list[VerdictChangeNote] = []
        last = None

        for number, (at, verdict) in enumerate([*before, *kept], opened.first - len(before)):
            if last is None or last.differs_from(verdict):
                id = f"{handle}.{number}" if number >= opened.first else ""
                found.append(
                    VerdictChangeNote(sample=id, at=utc(at), verdict=verdict_note(verdict))
                )

            last = verdict

        return found, opened.first + len(kept) - 1

    def _read(self, name: str) -> _Opened:
        with self._files.opened(name) as path:
            try:
                found = replay(path, keep=_MOST_SAMPLES, start=True)
            except UsageError as error:
                # It has been opened by another path than the one that the agent knows.
                said = str(error).replace(str(path), name)
                raise UsageError(said, help_text=error.help_text) from error

        ranks = max(len(found.last.workers), 1)
        kept = found.snapshots[-max(2, _MOST_RANK_SAMPLES // ranks) :]
        written = found.manifest.samples if found.manifest is not None else len(found.snapshots)
        first = max(written, len(kept)) - len(kept) + 1
        return _Opened(name, msgspec.structs.replace(found, snapshots=kept), first)

    def _of(self, handle: str) -> _Opened:
        opened = self._opened.get(handle)

        if opened is None:
            raise TargetNotFound(
                f"No incident file is open as {handle}.",
                help_text="open_incident opens one and returns its handle.",
            )

        self._opened.move_to_end(handle)
        return opened

    def _summary(self, handle: str) -> OpenedFile:
        opened = self._of(handle)
        found = opened.found
        snapshots, manifest = found.snapshots, found.manifest
        return OpenedFile(
            path=opened.name,
            handle=handle,
            samples=opened.first + len(snapshots) - 1,
            span_s=snapshots[-1].taken_at - snapshots[0].taken_at,
            public=found.header.public,
            damaged=found.damage is not None,
            left_out=manifest.left_out if manifest is not None else (),
        )


def _sample(handle: str, opened: _Opened, number: int) -> Sample:
    place = number - opened.first
    return Sample(
        id=f"{handle}.{number}",
        source="incident",
        incident=handle,
        explanation=explain(opened.found.snapshots[max(0, place - 1) : place + 1]),
        logs=opened.found.logs,
    )
