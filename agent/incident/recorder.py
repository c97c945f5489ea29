"""Records a run: samples as `why` takes them, until their time is over, and what else explains it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from dsray_inspect.agent.documents import RecordDocument
from dsray_inspect.agent.errors import ExitCode, InspectError, UsageError
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.history import history_of
from dsray_inspect.agent.incident.layout import (
    DOCTOR,
    HISTORY,
    LOGS,
    MANIFEST,
    NOT_PUBLIC,
    RECORDERS,
    WHY,
    LeftOut,
    LogsPart,
    Manifest,
    Versions,
)
from dsray_inspect.agent.incident.recorders import part_of
from dsray_inspect.agent.incident.stream import RecordingStream
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.interrupts import LimitPassed
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.past import recorders_of
from dsray_inspect.agent.remote.redaction import REDACTED
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.settling import sample, settle
from dsray_inspect.agent.tracing.build import timeline
from dsray_inspect.agent.unavailable import Unavailable

_APART_S: Final = 0.6
"""Rest between two samples, as in the ones that `why` takes."""
_LOG_LINES: Final = 100
_AFTER_THE_LAST: Final = "what the ranks did before, log files, and checks of the nodes"
"""What is read once the samples are taken."""
_MOST_LOGS: Final = 64
"""So many ranks have their logs in a file, the culprits first."""
_CHECKS: Final = "checks of the nodes"
_MOST_CHECKED: Final = 16
"""A check starts an actor on each node."""
_CHECK_S: Final = 10.0
_MOST_WHY_BYTES: Final = 16 << 20
"""It holds the environment of each rank once more."""
_MOST_RECORDER_BYTES: Final = 32 << 20
_NEVER: Final = (
    LeftOut(what="native frames and local variables", why="reading them pauses a rank"),
)


class Recorder:
    """One recording into a writer; it reads the session, and owns neither."""

    def __init__(
        self,
        session: Session,
        stream: RecordingStream,
        writer: IncidentWriter,
        request: SampleRequest,
    ) -> None:
        self._session = session
        self._stream = stream
        self._writer = writer
        self._request = request
        self._left_out: list[LeftOut] = [*_NEVER, *(NOT_PUBLIC if stream.is_public else ())]
        self._ended_early: str | None = None
        self.exit_code = ExitCode.OK

    def take_samples(self, candidate: Candidate, seconds: float) -> Candidate:
        """Record samples for so many seconds, and longer while the first ones say too little.

        A run that cannot be read any more ends the recording; what there is of it is kept.

        Raises:
            UsageError: Not even one sample fits into a file.
        """
        until = time.monotonic() + seconds

        try:
            current = settle(self._stream, candidate, self._request).snapshot

            while not (current.job.has_ended or self._writer.is_full):
                if until - time.monotonic() < _APART_S:
                    break

                time.sleep(_APART_S)
                candidate = self._stream.refreshed(candidate)
                current = sample(self._stream, candidate, self._request)
        except (InspectError, KeyboardInterrupt, LimitPassed) as error:
            if not self._writer.samples:
                raise

            self._ended_early = self._stream.filed_text(_reason(error))
            self._left_out.append(LeftOut(what="later samples", why=self._ended_early))
            self.exit_code = _exit_code(error)

        if not self._writer.samples:
            raise UsageError(
                "The run is too large for an incident file: one sample has more than 128 MB.",
                help_text="dsray-inspect why JOB --save FILE   keeps the explanation.",
            )

        return candidate

    def add_the_rest(self, candidate: Candidate, *, found_by: str) -> None:
        """Add what the ranks did before, the ends of their logs, and what the nodes let us read.

        An interrupt ends that; what is in the file by then is kept.
        """
        live = self._stream.live

        if live is None or self._ended_early is not None:
            self._left_out.append(LeftOut(what=_AFTER_THE_LAST, why="it ended early"))
            return

        try:
            self._add_past(candidate, live)

            if not self._stream.is_public:
                self._add_logs(candidate, live)

            self._add_diagnosis(live, found_by)
        except (KeyboardInterrupt, LimitPassed) as error:
            why = self._stream.filed_text(_reason(error))
            self._left_out.append(LeftOut(what=f"a part of {_AFTER_THE_LAST}", why=why))
            self.exit_code = _exit_code(error)

    def _add_past(self, candidate: Candidate, live: Snapshot) -> None:
        """Add what the ranks' flight recorders hold, and what the ranks did by them."""
        found = recorders_of(self._session, candidate, live, self._request)

        if isinstance(found, Unavailable):
            why = self._stream.filed_text(found.detail)
            self._left_out.append(LeftOut(what="what the ranks did before", why=why))
            return

        self._writer.add(HISTORY, self._stream.filed_history(history_of(timeline(found))))
        part = self._stream.filed_recorders(part_of(found))

        if not self._writer.add(RECORDERS, part, max_bytes=_MOST_RECORDER_BYTES):
            self._left_out.append(LeftOut(what="flight recorders", why="they are too large"))

    def _add_logs(self, candidate: Candidate, live: Snapshot) -> None:
        chosen = _worth_a_log(live)
        request = msgspec.structs.replace(
            self._request,
            env=False,
            deepspeed=False,
            start=False,
            recorder="idle",
            log_lines=_LOG_LINES,
            only=frozenset(chosen),
        )

        try:
            workers = self._session.snapshot(candidate, request).workers
        except InspectError as error:
            self._left_out.append(LeftOut(what="log files", why=str(error)))
            return

        logs = {worker.actor_id: worker.log for worker in workers if worker.log is not None}

        if not self._writer.add(LOGS, LogsPart(logs=logs)):
            self._left_out.append(LeftOut(what="log files", why="they are too large"))

        if len(chosen) < len(live.workers):
            what = f"log files of {len(live.workers) - len(chosen)} ranks"
            why = f"a file has those of {_MOST_LOGS} ranks"
            self._left_out.append(LeftOut(what=what, why=why))

    def _add_diagnosis(self, live: Snapshot, found_by: str) -> None:
        """Add what `doctor` says of the nodes."""
        try:
            found = self._session.diagnosis(
                live,
                found_by=found_by,
                inject=self._request.inject,
                most_nodes=_MOST_CHECKED,
                limit_s=_CHECK_S,
            )
        except InspectError as error:
            found = Unavailable(reason="failed", detail=str(error).rstrip("."))

        if isinstance(found, Unavailable):
            why = self._stream.filed_text(found.detail)
            self._left_out.append(LeftOut(what=_CHECKS, why=why))
            return

        self._writer.add(DOCTOR, self._stream.filed_diagnosis(found))

        if len(found.nodes) == _MOST_CHECKED < len(live.nodes):
            what = f"{_CHECKS} of {len(live.nodes) - _MOST_CHECKED} nodes"
            self._left_out.append(
                LeftOut(what=what, why=f"a file has those of {_MOST_CHECKED} nodes")
            )

    def finish(self, path: Path, *, tool: str, began_at: float) -> RecordDocument:
        """Add the explanation and the manifest, and give the file its name."""
        filed, writer = self._stream.filed, self._writer
        last = filed[-1]

        if not writer.add(WHY, explain(tuple(filed)), max_bytes=_MOST_WHY_BYTES):
            self._left_out.append(LeftOut(what=WHY, why="it is large, and `why --json` prints it"))

        left_out = (*self._left_out, *self._stream.left_out())
        redacted, replaced = _redacted(last), self._stream.replaced()
        manifest = Manifest(
            tool=tool,
            public=self._stream.is_public,
            began_at=began_at,
            ended_at=last.taken_at + last.took_s,
            job=last.job.label,
            ranks=len(last.workers),
            nodes=len(last.nodes),
            samples=writer.samples,
            verdicts=tuple(self._stream.verdicts),
            versions=_versions(last),
            parts=tuple(writer.parts),
            left_out=left_out,
            redacted=redacted,
            replaced=replaced,
        )
        writer.add(MANIFEST, manifest)
        return RecordDocument(
            file=str(path),
            bytes=writer.finish(),
            public=manifest.public,
            job=manifest.job,
            ranks=manifest.ranks,
            samples=manifest.samples,
            seconds=round(last.taken_at - self._stream.first_at, 3),
            verdict=last.verdict,
            left_out=tuple(f"{part.what}: {part.why}" for part in left_out),
            redacted=redacted,
            replaced=replaced,
            ended_early=self._ended_early,
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted"

    return "its time limit passed" if isinstance(error, LimitPassed) else str(error)


def _exit_code(error: BaseException) -> ExitCode:
    """Return how the command ends although there is a file: as the user or its limit ended it."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED

    return ExitCode.TIMEOUT if isinstance(error, LimitPassed) else ExitCode.OK


def _worth_a_log(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the actor ids of the ranks whose logs are recorded, the culprits' first."""
    blamed = set(snapshot.verdict.ranks)
    ordered = sorted(snapshot.workers, key=lambda worker: worker.rank not in blamed)
    return tuple(worker.actor_id for worker in ordered[:_MOST_LOGS])


def _redacted(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the names whose values were hidden on their node, with on how many ranks."""
    hidden = Counter(_hidden_names(snapshot))
    return tuple(f"{name} (ranks: {number})" for name, number in sorted(hidden.items()))


def _hidden_names(snapshot: Snapshot) -> Iterable[str]:
    for worker in snapshot.workers:
        yield from (name for name, known in worker.env.items() if REDACTED in known.value)
        config = worker.deepspeed.config if worker.deepspeed is not None else {}
        yield from (f"DeepSpeed's {key}" for key, value in config.items() if REDACTED in value)


def _versions(snapshot: Snapshot) -> tuple[Versions, ...]:
    found: dict[str, set[str]] = {}

    for worker in snapshot.workers:
        for package, version in worker.versions.items():
            found.setdefault(package, set()).add(version)

    return tuple(
        Versions(package=package, versions=tuple(sorted(versions)))
        for package, versions in sorted(found.items())
    )
